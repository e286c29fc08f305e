#include "tools/daybook/rows.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/units.h"

/* A table is measured up to so many rows or bytes before its first line is printed. */
enum { MEASURE_ROWS = 1000, MEASURE_BYTES = 4 << 20, CELL_WIDTH_MAX = 60 };

const char *const rows_format_names[] = {"table", "json", "csv", NULL};

struct column {
    char *name;
    size_t width;
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
    struct column *columns;
    size_t column_count;
    struct cell *cells; /* of all rows that are not printed yet */
    size_t cell_count;
    size_t cell_capacity;
    struct buffer text;
    bool measured;        /* the table's header is printed, its widths are final */
    uint64_t printed;     /* rows */
    enum error_code code; /* the first failure since the row began */
    struct error failure;
};

static size_t display_width(const char *text, size_t bytes)
{
    size_t width = 0;
    for (size_t i = 0; i < bytes; i++)
        width += ((unsigned char)text[i] & 0xc0) != 0x80; /* one column a character */
    return width;
}

static enum error_code copy_names(struct rows *rows, const char *const *names, size_t name_count)
{
    rows->columns = calloc(name_count ? name_count : 1, sizeof *rows->columns);
    if (!rows->columns)
        return ERROR_MEMORY;
    rows->column_count = name_count;
    for (size_t i = 0; i < name_count; i++) {
        rows->columns[i].name = strdup(names[i]);
        if (!rows->columns[i].name)
            return ERROR_MEMORY;
        rows->columns[i].width = display_width(names[i], strlen(names[i]));
    }
    return OK;
}

static void print_csv_field(FILE *to, const char *text, size_t bytes)
{
    bool plain = true;
    for (size_t i = 0; i < bytes && plain; i++)
        plain = text[i] != '"' && text[i] != ',' && text[i] != '\n' && text[i] != '\r';
    if (plain) {
        fwrite(text, 1, bytes, to);
        return;
    }
    fputc('"', to);
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '"')
            fputc('"', to);
        fputc(text[i], to);
    }
    fputc('"', to);
}

static void print_csv_header(const struct rows *rows)
{
    for (size_t i = 0; i < rows->column_count; i++) {
        if (i)
            fputc(',', rows->to);
        print_csv_field(rows->to, rows->columns[i].name, strlen(rows->columns[i].name));
    }
    fputc('\n', rows->to);
}

enum error_code rows_create(FILE *to, enum rows_format format, bool single,
                            const char *const *names, size_t name_count, struct rows **rows_out,
                            struct error *error)
{
    struct rows *rows = calloc(1, sizeof *rows);
    if (!rows)
        return error_set(error, ERROR_MEMORY, "no memory for rows");
    rows->to = to;
    rows->format = format;
    rows->single = single;
    if (copy_names(rows, names, name_count)) {
        rows_free(rows);
        return error_set(error, ERROR_MEMORY, "no memory for rows");
    }
    if (format == ROWS_CSV)
        print_csv_header(rows);
    *rows_out = rows;
    return OK;
}

void rows_free(struct rows *rows)
{
    if (!rows)
        return;
    for (size_t i = 0; i < rows->column_count; i++)
        free(rows->columns[i].name);
    free(rows->columns);
    free(rows->cells);
    buffer_release(&rows->text);
    free(rows);
}

static void fail(struct rows *rows, enum error_code code)
{
    if (!rows->code)
        rows->code = code;
}

static void add_cell(struct rows *rows, struct cell cell, const char *text)
{
    if (rows->cell_count == rows->cell_capacity) {
        size_t capacity = rows->cell_capacity ? 2 * rows->cell_capacity : 64;
        struct cell *cells = realloc(rows->cells, capacity * sizeof *cells);
        if (!cells) {
            fail(rows, error_set(&rows->failure, ERROR_MEMORY, "no memory for rows"));
            return;
        }
        rows->cells = cells;
        rows->cell_capacity = capacity;
    }
    cell.offset = rows->text.size;
    enum error_code code = buffer_append(&rows->text, text, cell.bytes, &rows->failure);
    if (code)
        fail(rows, code);
    else
        rows->cells[rows->cell_count++] = cell;
}

void rows_null(struct rows *rows)
{
    const char *text = rows->format == ROWS_TABLE ? "-" : "";
    add_cell(rows, (struct cell){.bytes = strlen(text), .null = true}, text);
}

void rows_text(struct rows *rows, const char *text, size_t text_bytes)
{
    add_cell(rows, (struct cell){.bytes = text_bytes, .quoted = true}, text);
}

void rows_string(struct rows *rows, const char *text)
{
    if (text)
        rows_text(rows, text, strlen(text));
    else
        rows_null(rows);
}

static void add_bare(struct rows *rows, const char *text, bool right)
{
    add_cell(rows, (struct cell){.bytes = strlen(text), .right = right}, text);
}

void rows_boolean(struct rows *rows, bool value)
{
    if (rows->format == ROWS_TABLE)
        add_bare(rows, value ? "yes" : "no", false);
    else
        add_bare(rows, value ? "true" : "false", false);
}

void rows_integer(struct rows *rows, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    add_bare(rows, text, true);
}

void rows_real(struct rows *rows, double value)
{
    char text[40];
    snprintf(text, sizeof text, "%.15g", value);
    if (strtod(text, NULL) != value)
        snprintf(text, sizeof text, "%.17g", value);
    if (isfinite(value) && !strpbrk(text, ".e"))
        strcat(text, ".0"); /* it stays a double for whoever reads it */
    if (!isfinite(value))   /* as Python writes them */
        strcpy(text, isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity");
    add_bare(rows, text, true);
}

void rows_sequence(struct rows *rows, uint64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    add_bare(rows, text, true);
}

void rows_count(struct rows *rows, uint64_t value)
{
    char text[UNITS_TEXT_SIZE + 8];
    if (rows->format != ROWS_TABLE) {
        rows_sequence(rows, value);
        return;
    }
    units_format_count(value, text);
    add_bare(rows, text, true);
}

void rows_size(struct rows *rows, uint64_t bytes)
{
    char text[UNITS_TEXT_SIZE];
    if (rows->format != ROWS_TABLE) {
        rows_sequence(rows, bytes);
        return;
    }
    units_format_size(bytes, text);
    add_bare(rows, text, true);
}

void rows_time(struct rows *rows, int64_t time_ns)
{
    if (time_ns == INT64_MIN) {
        rows_null(rows);
        return;
    }
    char text[UNITS_TIME_TEXT_SIZE];
    units_format_time_utc(time_ns, text);
    rows_string(rows, text);
}

static const struct cell *row_at(const struct rows *rows, size_t row)
{
    return rows->cells + row * rows->column_count;
}

static const char *cell_text(const struct rows *rows, const struct cell *cell)
{
    return cell->bytes ? (const char *)rows->text.data + cell->offset : "";
}

static void print_padded(FILE *to, const char *text, size_t bytes, size_t width, bool right,
                         bool last)
{
    size_t used = display_width(text, bytes);
    int padding = used < width ? (int)(width - used) : 0;
    if (right)
        fprintf(to, "%*s", padding, "");
    for (size_t i = 0; i < bytes; i++) /* a line break in a cell must not break the table */
        fputc((unsigned char)text[i] < 0x20 ? ' ' : text[i], to);
    if (!right && !last)
        fprintf(to, "%*s", padding, "");
    if (!last)
        fputs("  ", to);
}

static void print_table_row(const struct rows *rows, const struct cell *cells)
{
    for (size_t i = 0; i < rows->column_count; i++)
        print_padded(rows->to, cell_text(rows, &cells[i]), cells[i].bytes, rows->columns[i].width,
                     cells[i].right, i + 1 == rows->column_count);
    fputc('\n', rows->to);
}

static void print_csv_row(const struct rows *rows, const struct cell *cells)
{
    for (size_t i = 0; i < rows->column_count; i++) {
        if (i)
            fputc(',', rows->to);
        print_csv_field(rows->to, cell_text(rows, &cells[i]), cells[i].bytes);
    }
    fputc('\n', rows->to);
}

static enum error_code append_json_cell(const struct rows *rows, const struct cell *cell,
                                        struct buffer *out, struct error *error)
{
    if (cell->null)
        return buffer_append(out, "null", 4, error);
    const char *text = cell_text(rows, cell);
    if (cell->quoted)
        return json_append_string(out, text, cell->bytes, error);
    return buffer_append(out, text, cell->bytes, error);
}

static enum error_code print_json_row(const struct rows *rows, const struct cell *cells,
                                      struct error *error)
{
    struct buffer out = {0};
    enum error_code code = OK;
    for (size_t i = 0; !code && i < rows->column_count; i++) {
        code = buffer_append(&out, i ? "," : "{", 1, error);
        const char *name = rows->columns[i].name;
        if (!code)
            code = json_append_string(&out, name, strlen(name), error);
        if (!code)
            code = buffer_append(&out, ":", 1, error);
        if (!code)
            code = append_json_cell(rows, &cells[i], &out, error);
    }
    if (!code) {
        if (!rows->single)
            fputs(rows->printed ? ",\n" : "[", rows->to);
        fwrite(out.data, 1, out.size, rows->to);
        fputs(rows->column_count ? "}" : "{}", rows->to);
    }
    buffer_release(&out);
    return code;
}

/* One "name  value" line a column. */
static void print_upright(const struct rows *rows, const struct cell *cells)
{
    size_t width = 0;
    for (size_t i = 0; i < rows->column_count; i++)
        if (rows->columns[i].width > width)
            width = rows->columns[i].width;
    for (size_t i = 0; i < rows->column_count; i++) {
        const char *name = rows->columns[i].name;
        print_padded(rows->to, name, strlen(name), width, false, false);
        print_padded(rows->to, cell_text(rows, &cells[i]), cells[i].bytes, 0, false, true);
        fputc('\n', rows->to);
    }
}

/* Widths from what has gathered, then the header. Numbers stand at the right, so do their names. */
static void print_table_header(struct rows *rows)
{
    size_t row_count = rows->column_count ? rows->cell_count / rows->column_count : 0;
    for (size_t row = 0; row < row_count; row++) {
        for (size_t i = 0; i < rows->column_count; i++) {
            const struct cell *cell = &row_at(rows, row)[i];
            size_t width = display_width(cell_text(rows, cell), cell->bytes);
            if (width > CELL_WIDTH_MAX)
                width = CELL_WIDTH_MAX; /* a long one sticks out alone */
            if (width > rows->columns[i].width)
                rows->columns[i].width = width;
        }
    }
    for (size_t i = 0; i < rows->column_count; i++) {
        const char *name = rows->columns[i].name;
        bool right = row_count > 0 && row_at(rows, 0)[i].right;
        print_padded(rows->to, name, strlen(name), rows->columns[i].width, right,
                     i + 1 == rows->column_count);
    }
    if (rows->column_count)
        fputc('\n', rows->to);
    rows->measured = true;
}

static enum error_code print_row(struct rows *rows, const struct cell *cells, struct error *error)
{
    enum error_code code = OK;
    if (rows->format == ROWS_JSON)
        code = print_json_row(rows, cells, error);
    else if (rows->format == ROWS_CSV)
        print_csv_row(rows, cells);
    else if (rows->single)
        print_upright(rows, cells);
    else
        print_table_row(rows, cells);
    rows->printed++;
    return code;
}

static enum error_code check_written(const struct rows *rows, struct error *error)
{
    if (!ferror(rows->to))
        return OK;
    if (errno == EPIPE)
        return error_set(error, ERROR_CLOSED, "write output: nobody reads it any more");
    return error_set_errno(error, errno, "write output");
}

static enum error_code print_gathered(struct rows *rows, struct error *error)
{
    if (rows->format == ROWS_TABLE && !rows->single && !rows->measured)
        print_table_header(rows);
    enum error_code code = OK;
    for (size_t at = 0; !code && at < rows->cell_count; at += rows->column_count)
        code = print_row(rows, rows->cells + at, error);
    rows->cell_count = 0;
    rows->text.size = 0;
    return code ? code : check_written(rows, error);
}

enum error_code rows_end(struct rows *rows, struct error *error)
{
    if (rows->code) {
        if (error)
            *error = rows->failure;
        return rows->code;
    }
    assert(rows->column_count == 0 || rows->cell_count % rows->column_count == 0);
    bool wait = rows->format == ROWS_TABLE && !rows->measured &&
                rows->cell_count < MEASURE_ROWS * rows->column_count &&
                rows->text.size < MEASURE_BYTES;
    return wait ? OK : print_gathered(rows, error);
}

enum error_code rows_finish(struct rows *rows, struct error *error)
{
    enum error_code code = print_gathered(rows, error);
    if (!code && rows->format == ROWS_JSON)
        fputs(rows->single ? "\n" : rows->printed ? "]\n" : "[]\n", rows->to);
    if (!code) {
        fflush(rows->to);
        code = check_written(rows, error);
    }
    return code;
}
