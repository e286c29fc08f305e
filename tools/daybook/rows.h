/*
 * tools/daybook/rows.h - rows with named columns on stdout: as a table, JSON, CSV or Markdown.
 *
 * A table's columns are as wide as its first thousand rows need, then rows are printed as they
 * come, so memory is bounded. Units are for people and appear in tables only: the other forms get
 * plain numbers and RFC 3339 times. JSON is an array with one object a line; where `single` is set
 * it is one object.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_ROWS_H
#define DAYBOOK_TOOLS_DAYBOOK_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/error.h"

enum rows_format { ROWS_TABLE, ROWS_JSON, ROWS_CSV, ROWS_MARKDOWN };
/* Their names in this order, ending with NULL: for options_choice. */
extern const char *const rows_format_names[];
#define ROWS_FLAG                                                                                  \
    {                                                                                              \
        'o', "output", "FORMAT", "table|json|csv|markdown (default table)"                         \
    }

struct rows;

/*
 * The names are copied. With `single` the table is printed upright, one "name value" line a
 * column, in Markdown as well, and JSON is one object: for exactly one row.
 */
enum error_code rows_create(FILE *to, enum rows_format format, bool single,
                            const char *const *names, size_t name_count, struct rows **rows_out,
                            struct error *error);

/*
 * Before the first row: cut a table's long cells of text, with "…" at their end, so that a row
 * stays one line of the terminal. Where that is not enough, rows are printed upright, one "name
 * value" line a column. A single column is never cut, nor is anything that goes into a file or a
 * pipe. rows_were_cut tells whether the user should be told.
 */
void rows_fit_terminal(struct rows *rows);

/* The cells of a row, from left to right. Out of memory shows in rows_end. */
void rows_null(struct rows *rows);
void rows_text(struct rows *rows, const char *text, size_t text_bytes);
void rows_string(struct rows *rows, const char *text); /* NULL gives a null */
void rows_boolean(struct rows *rows, bool value);
void rows_integer(struct rows *rows, int64_t value); /* plain everywhere */
void rows_real(struct rows *rows, double value);
void rows_sequence(struct rows *rows, uint64_t value); /* plain everywhere */
void rows_count(struct rows *rows, uint64_t value);    /* "1,402" */
void rows_size(struct rows *rows, uint64_t bytes);     /* "1.4 MiB" */
void rows_time(struct rows *rows, int64_t time_ns);    /* INT64_MIN gives a null */
void rows_duration(struct rows *rows, int64_t ns);     /* "3 d 4 h", else seconds */
/* The row is complete: as many cells as columns. ERROR_CLOSED: nobody reads any more. */
enum error_code rows_end(struct rows *rows, struct error *error);

/* How many rows were printed; and was a cell cut, which then stands nowhere in full? */
uint64_t rows_printed(const struct rows *rows);
bool rows_were_cut(const struct rows *rows);

/* Print what is left and flush. */
enum error_code rows_finish(struct rows *rows, struct error *error);
/* Accepts NULL. */
void rows_free(struct rows *rows);

#endif
