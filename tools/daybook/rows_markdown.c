#include <string.h>

#include "tools/daybook/rows_inside.h"

/*
 * A line break would end the row, a pipe the cell; a backslash, and what begins HTML, code or
 * emphasis, would not be shown as it is.
 */
static void print_escaped(FILE *to, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        if (c == '\n')
            fputs("<br>", to);
        else if ((unsigned char)c < 0x20 || c == 0x7f) /* also the \r of a \r\n */
            fputs(c == '\r' && i + 1 < bytes && text[i + 1] == '\n' ? "" : " ", to);
        else
            fprintf(to, strchr("\\|<`*", c) ? "\\%c" : "%c", c);
    }
}

static void print_cell(FILE *to, const char *text, size_t bytes)
{
    fputs(" ", to);
    print_escaped(to, text, bytes);
    fputs(" |", to);
}

void rows_markdown_row(const struct rows *rows, const struct cell *cells)
{
    if (rows->single) {
        for (size_t i = 0; i < rows->column_count; i++) {
            fputs("|", rows->to);
            print_cell(rows->to, rows->columns[i].name, strlen(rows->columns[i].name));
            print_cell(rows->to, rows_cell_text(rows, &cells[i]), cells[i].bytes);
            fputs("\n", rows->to);
        }
        return;
    }
    fputs("|", rows->to);
    for (size_t i = 0; i < rows->column_count; i++)
        print_cell(rows->to, rows_cell_text(rows, &cells[i]), cells[i].bytes);
    fputs("\n", rows->to);
}

void rows_markdown_header(struct rows *rows)
{
    if (rows->single) {
        fputs("| name | value |\n| --- | --- |\n", rows->to);
        return;
    }
    if (rows->column_count == 0)
        return;
    rows_find_alignments(rows);
    fputs("|", rows->to);
    for (size_t i = 0; i < rows->column_count; i++)
        print_cell(rows->to, rows->columns[i].name, strlen(rows->columns[i].name));
    fputs("\n|", rows->to);
    for (size_t i = 0; i < rows->column_count; i++)
        fputs(rows->columns[i].right ? " ---: |" : " --- |", rows->to);
    fputs("\n", rows->to);
}
