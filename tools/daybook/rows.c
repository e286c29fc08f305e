#include "tools/daybook/rows.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/units.h"
#include "tools/daybook/rows_inside.h"
#include "tools/daybook/terminal.h"

/* Forms with widths or alignments look at so many rows or bytes before their first line. */
enum { MEASURE_ROWS = 1000, MEASURE_BYTES = 4 << 20 };

const char *const rows_format_names[] = {"table", "json", "csv", "markdown", NULL};

size_t rows_display_width(const char *text, size_t bytes)
{
    size_t width = 0;
    for (size_t i = 0; i < bytes; i++)
        width += ((unsigned char)text[i] & 0xc0) != 0x80;
    return width;
}

const char *rows_cell_text(const struct rows *rows, const struct cell *cell)
{
    return cell->bytes ? (const char *)rows->text.data + cell->offset : "";
}

size_t rows_gathered(const struct rows *rows)
{
    return rows->column_count ? rows->cell_count / rows->column_count : 0;
}

const struct cell *rows_cells_of(const struct rows *rows, size_t row)
{
    return rows->cells + row * rows->column_count;
}

void rows_find_alignments(struct rows *rows)
{
    for (size_t i = 0; i < rows->column_count; i++) {
        bool numbers = false, others = false;
        for (size_t row = 0; row < rows_gathered(rows); row++) {
            const struct cell *cell = &rows_cells_of(rows, row)[i];
            numbers |= cell->right;
            others |= !cell->right && !cell->null;
        }
        rows->columns[i].right = numbers && !others;
    }
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
        rows->columns[i].width = rows_display_width(names[i], strlen(names[i]));
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

void rows_fit_terminal(struct rows *rows)
{
    rows->terminal_width = terminal_width(fileno(rows->to));
}

bool rows_were_cut(const struct rows *rows)
{
    return rows->cut;
}

uint64_t rows_printed(const struct rows *rows)
{
    return rows->printed;
}

/* Markdown is read by people too, but what stands in its cells may be copied on. */
static bool rows_are_for_people(const struct rows *rows)
{
    return rows->format == ROWS_TABLE;
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
    const char *text = rows_are_for_people(rows) ? "-" : "";
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
    if (rows_are_for_people(rows))
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
    if (!rows_are_for_people(rows)) {
        rows_sequence(rows, value);
        return;
    }
    units_format_count(value, text);
    add_bare(rows, text, true);
}

void rows_size(struct rows *rows, uint64_t bytes)
{
    char text[UNITS_TEXT_SIZE];
    if (!rows_are_for_people(rows)) {
        rows_sequence(rows, bytes);
        return;
    }
    units_format_size(bytes, text);
    add_bare(rows, text, true);
}

void rows_duration(struct rows *rows, int64_t ns)
{
    char text[UNITS_TEXT_SIZE];
    if (!rows_are_for_people(rows)) {
        rows_real(rows, (double)ns / 1e9);
        return;
    }
    units_format_duration(ns, text);
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

static void print_csv_row(const struct rows *rows, const struct cell *cells)
{
    for (size_t i = 0; i < rows->column_count; i++) {
        if (i)
            fputc(',', rows->to);
        print_csv_field(rows->to, rows_cell_text(rows, &cells[i]), cells[i].bytes);
    }
    fputc('\n', rows->to);
}

static enum error_code append_json_cell(const struct rows *rows, const struct cell *cell,
                                        struct buffer *out, struct error *error)
{
    if (cell->null)
        return buffer_append(out, "null", 4, error);
    const char *text = rows_cell_text(rows, cell);
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

static enum error_code print_row(struct rows *rows, const struct cell *cells, struct error *error)
{
    enum error_code code = OK;
    if (rows->format == ROWS_JSON)
        code = print_json_row(rows, cells, error);
    else if (rows->format == ROWS_CSV)
        print_csv_row(rows, cells);
    else if (rows->format == ROWS_MARKDOWN)
        rows_markdown_row(rows, cells);
    else
        rows_table_row(rows, cells);
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

static bool is_measured_first(const struct rows *rows)
{
    return rows->format == ROWS_TABLE || rows->format == ROWS_MARKDOWN;
}

static enum error_code print_gathered(struct rows *rows, struct error *error)
{
    if (is_measured_first(rows) && !rows->measured) {
        if (rows->format == ROWS_TABLE)
            rows_table_header(rows);
        else
            rows_markdown_header(rows);
        rows->measured = true;
    }
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
    bool wait = is_measured_first(rows) && !rows->measured &&
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
