/*
 * tools/daybook/rows_inside.h - what rows.c shares with the forms that it prints rows in.
 *
 * Only rows.c, rows_table.c and rows_markdown.c include this. The forms get rows whose cells are
 * text already; widths and alignments come from the rows that have gathered when the header is
 * printed.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_ROWS_INSIDE_H
#define DAYBOOK_TOOLS_DAYBOOK_ROWS_INSIDE_H

#include "core/bytes.h"
#include "tools/daybook/rows.h"

struct column {
    char *name;
    size_t width;
    size_t width_max; /* of a cell; longer ones are cut. 0: never */
    bool right;       /* numbers, as far as has been seen when the header was printed */
};

/* One value as text; what JSON needs to know of it is `quoted` and `null`. */
struct cell {
    size_t offset; /* in rows->text */
    size_t bytes;
    bool quoted; /* a string in JSON */
    bool right;  /* a number: aligned to the right in tables */
    bool null;
};

struct rows {
    FILE *to;
    enum rows_format format;
    bool single;
    unsigned terminal_width; /* 0: nothing is cut */
    bool cut;                /* a cell did not fit */
    bool upright;            /* rows are too wide for the terminal, and stand on end */
    struct column *columns;
    size_t column_count;
    struct cell *cells; /* of all rows that are not printed yet */
    size_t cell_count;
    size_t cell_capacity;
    struct buffer text;
    bool measured;        /* the header is printed, widths and alignments are final */
    uint64_t printed;     /* rows */
    enum error_code code; /* the first failure since the row began */
    struct error failure;
};

size_t rows_display_width(const char *text, size_t bytes); /* one column a character */
const char *rows_cell_text(const struct rows *rows, const struct cell *cell);
/* How many rows have gathered, and the cells of the n-th. */
size_t rows_gathered(const struct rows *rows);
const struct cell *rows_cells_of(const struct rows *rows, size_t row);
/* Set `right` of each column: it has numbers, and nothing else but nulls. */
void rows_find_alignments(struct rows *rows);

void rows_table_header(struct rows *rows);
void rows_table_row(struct rows *rows, const struct cell *cells);

void rows_markdown_header(struct rows *rows);
void rows_markdown_row(const struct rows *rows, const struct cell *cells);

#endif
