#include <stdbool.h>
#include <string.h>

#include "tools/daybook/rows_inside.h"
#include "tools/daybook/terminal.h"

enum {
    CELL_WIDTH_MAX = 60, /* in a file a longer cell sticks out alone */
    CUT_WIDTH_MIN = 16,  /* a column of text is not made narrower than this */
    KEPT_WIDTH = 36,     /* a time or a UUID says little without its end: such ones are not cut */
    BETWEEN = 2,         /* blanks between two columns */
};

static void print_blanks(FILE *to, size_t count)
{
    fprintf(to, "%*s", (int)count, "");
}

/*
 * A line break in a cell must not break the table, and what some producer has sent must not speak
 * to the terminal: U+0000 to U+001F, U+007F, and U+0080 to U+009F, which are two bytes, are blanks.
 */
static void print_plain(FILE *to, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        unsigned char next = i + 1 < bytes ? (unsigned char)text[i + 1] : 0;
        bool high = c == 0xc2 && next >= 0x80 && next < 0xa0;
        fputc(c < 0x20 || c == 0x7f || high ? ' ' : c, to);
        i += high;
    }
}

/* Returns the columns used. */
static size_t print_cut(struct rows *rows, const char *text, size_t bytes, size_t width_max)
{
    size_t width = rows_display_width(text, bytes);
    if (width_max == 0 || width <= width_max) {
        print_plain(rows->to, text, bytes);
        return width;
    }
    rows->cut = true;
    print_plain(rows->to, text, terminal_fit(text, bytes, width_max - 1));
    fputs("…", rows->to);
    return width_max;
}

static void print_cell(struct rows *rows, size_t column, const char *text, size_t bytes, bool right)
{
    const struct column *at = &rows->columns[column];
    bool last = column + 1 == rows->column_count;
    if (right) { /* numbers are never cut */
        size_t width = rows_display_width(text, bytes);
        print_blanks(rows->to, width < at->width ? at->width - width : 0);
        print_plain(rows->to, text, bytes);
    } else {
        size_t used = print_cut(rows, text, bytes, at->width_max);
        if (!last)
            print_blanks(rows->to, used < at->width ? at->width - used : 0);
    }
    if (!last)
        print_blanks(rows->to, BETWEEN);
}

static size_t name_width_of(const struct column *column)
{
    return rows_display_width(column->name, strlen(column->name));
}

/* One "name  value" line a column. */
static void print_upright(const struct rows *rows, const struct cell *cells)
{
    size_t width = 0;
    for (size_t i = 0; i < rows->column_count; i++) {
        size_t name_width = name_width_of(&rows->columns[i]);
        if (name_width > width)
            width = name_width;
    }
    for (size_t i = 0; i < rows->column_count; i++) {
        const struct column *column = &rows->columns[i];
        print_plain(rows->to, column->name, strlen(column->name));
        print_blanks(rows->to, width - name_width_of(column) + BETWEEN);
        print_plain(rows->to, rows_cell_text(rows, &cells[i]), cells[i].bytes);
        fputc('\n', rows->to);
    }
}

void rows_table_row(struct rows *rows, const struct cell *cells)
{
    if (rows->single || rows->upright) {
        if (rows->printed > 0)
            fputc('\n', rows->to);
        print_upright(rows, cells);
        return;
    }
    for (size_t i = 0; i < rows->column_count; i++)
        print_cell(rows, i, rows_cell_text(rows, &cells[i]), cells[i].bytes, cells[i].right);
    fputc('\n', rows->to);
}

static void find_widths(struct rows *rows)
{
    for (size_t row = 0; row < rows_gathered(rows); row++) {
        for (size_t i = 0; i < rows->column_count; i++) {
            const struct cell *cell = &rows_cells_of(rows, row)[i];
            size_t width = rows_display_width(rows_cell_text(rows, cell), cell->bytes);
            if (width > CELL_WIDTH_MAX && !rows->terminal_width)
                width = CELL_WIDTH_MAX;
            if (width > rows->columns[i].width)
                rows->columns[i].width = width;
        }
    }
}

/* What a column keeps when text is cut to `level`: numbers and narrow columns keep all. */
static size_t width_at(const struct column *column, size_t level)
{
    size_t name_width = name_width_of(column);
    if (column->right || column->width <= KEPT_WIDTH)
        return column->width;
    if (level < name_width)
        level = name_width;
    return column->width < level ? column->width : level;
}

static size_t total_at(const struct rows *rows, size_t level)
{
    size_t total = BETWEEN * (rows->column_count - 1);
    for (size_t i = 0; i < rows->column_count; i++)
        total += width_at(&rows->columns[i], level);
    return total;
}

/*
 * The widest columns give until a row fits: all of them are cut to the same level, the highest
 * that fits. False: so little would be left that nobody could read it.
 */
static bool fit_widths(struct rows *rows)
{
    size_t level = rows->terminal_width;
    while (level > CUT_WIDTH_MIN && total_at(rows, level) > rows->terminal_width)
        level--;
    if (total_at(rows, level) > rows->terminal_width)
        return false;
    size_t left = rows->terminal_width - total_at(rows, level);
    for (size_t i = 0; i < rows->column_count; i++) {
        struct column *column = &rows->columns[i];
        size_t width = width_at(column, level);
        size_t more = column->width - width; /* what the level rounded off */
        if (more > left)
            more = left;
        left -= more;
        column->width = width + more;
    }
    /* Rows behind the measured ones are cut to what there is; the last may use the rest. */
    for (size_t i = 0; i < rows->column_count; i++)
        rows->columns[i].width_max =
            rows->columns[i].width + (i + 1 == rows->column_count ? left : 0);
    return true;
}

/* Widths from what has gathered, then the header. Numbers stand at the right, so do their names. */
void rows_table_header(struct rows *rows)
{
    if (rows->single || rows->column_count == 0)
        return;
    rows_find_alignments(rows);
    find_widths(rows);
    rows->upright = rows->terminal_width && rows->column_count > 1 && rows_gathered(rows) > 0 &&
                    !fit_widths(rows);
    if (rows->upright)
        return;
    for (size_t i = 0; i < rows->column_count; i++) {
        const char *name = rows->columns[i].name;
        print_cell(rows, i, name, strlen(name), rows->columns[i].right);
    }
    fputc('\n', rows->to);
}
