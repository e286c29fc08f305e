#include "tools/daybook/sql_editor.h"

#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <wchar.h>

#include "tools/daybook/sql_history.h"
#include "tools/daybook/sql_session.h"
#include "tools/daybook/sql_signals.h"
#include "tools/daybook/terminal.h"
#include "tools/daybook/verb.h"

enum { LISTED_ROWS_MAX = 20 }; /* of the words that Tab lists */

struct sql_editor {
    struct sql_editor_completer completer;
    EditLine *line;
    History *entries;
    struct sql_history *history; /* NULL: none is kept */
    const char *prompt;
    char *last; /* the newest entry */
    bool interrupted;
};

static struct sql_editor *editor_of(EditLine *line)
{
    void *editor = NULL;
    el_get(line, EL_CLIENTDATA, &editor);
    return editor;
}

static char *give_prompt(EditLine *line)
{
    return (char *)(uintptr_t)editor_of(line)->prompt; /* libedit only reads it */
}

/* Put the terminal back, sleep until the user comes back, show the line again. */
static void suspend(EditLine *line)
{
    el_set(line, EL_PREP_TERM, 0);
    sql_signals_suspend();
    el_set(line, EL_PREP_TERM, 1);
    el_set(line, EL_REFRESH);
}

/* True: there is a byte. False: stop reading the line. */
static bool wait_for_byte(EditLine *line)
{
    for (;;) {
        if (sql_signals_end())
            return false;
        if (sql_signals_take_interrupt()) {
            editor_of(line)->interrupted = true;
            return false;
        }
        if (sql_signals_take_suspend())
            suspend(line);
        if (sql_signals_take_resize())
            el_resize(line);
        if (sql_signals_wait(STDIN_FILENO))
            return true;
    }
}

/*
 * In place of libedit's own, which reads on after the first interrupted call, with the terminal
 * already put back.
 */
static int read_character(EditLine *line, wchar_t *character_out)
{
    mbstate_t state = {0};
    for (;;) {
        char byte;
        if (!wait_for_byte(line))
            return -1;
        ssize_t got = read(STDIN_FILENO, &byte, 1);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got <= 0)
            return -1;
        size_t used = mbrtowc(character_out, &byte, 1, &state);
        if (used == (size_t)-1)
            memset(&state, 0, sizeof state); /* a byte that begins no character is passed over */
        else if (used != (size_t)-2)
            return 1;
    }
}

static size_t common_bytes(const struct sql_completion *completion)
{
    size_t common = strlen(completion->words[0]);
    for (size_t i = 1; i < completion->count; i++) {
        size_t same = 0;
        while (same < common &&
               strncasecmp(&completion->words[0][same], &completion->words[i][same], 1) == 0)
            same++;
        common = same;
    }
    while (common > 0 && ((unsigned char)completion->words[0][common] & 0xc0) == 0x80)
        common--; /* not within a character */
    return common;
}

static void print_columns(const struct sql_completion *completion)
{
    size_t widest = 0, columns, rows;
    for (size_t i = 0; i < completion->count; i++)
        if (strlen(completion->words[i]) > widest)
            widest = strlen(completion->words[i]);
    unsigned width = terminal_width(STDERR_FILENO);
    columns = width > widest + 2 ? width / (widest + 2) : 1;
    rows = (completion->count + columns - 1) / columns;
    for (size_t row = 0; row < rows && row < LISTED_ROWS_MAX; row++) {
        for (size_t i = row; i < completion->count; i += rows)
            fprintf(stderr, "%-*s", i + rows < completion->count ? (int)widest + 2 : 0,
                    completion->words[i]);
        fputc('\n', stderr);
    }
    if (rows > LISTED_ROWS_MAX)
        fprintf(stderr, "… %zu words in all\n", completion->count);
}

static unsigned char list_words(const struct sql_completion *completion)
{
    fputc('\n', stderr);
    print_columns(completion);
    return CC_REDISPLAY;
}

/* After a word that is complete comes a blank, unless it asks for more by itself. */
static bool ends_word(const char *word)
{
    return word[0] && !strchr("(./", word[strlen(word) - 1]);
}

/* Replace what was typed by the words' common beginning. False: that is nothing new. */
static bool insert_common(EditLine *line, const struct sql_completion *completion, size_t typed)
{
    size_t common = common_bytes(completion);
    bool only = completion->count == 1;
    char *text = strndup(completion->words[0], common);
    const LineInfo *info = el_line(line);
    if (!text || common < typed ||
        (!only && common == typed && strncmp(info->cursor - typed, text, typed) == 0)) {
        free(text);
        return false;
    }
    bool blank = only && ends_word(text) && *info->cursor != ' ';
    wchar_t *wide = calloc(typed + 1, sizeof *wide);
    char *before = strndup(info->cursor - typed, typed);
    size_t characters = wide && before ? mbstowcs(wide, before, typed + 1) : typed;
    el_deletestr(line, (int)(characters == (size_t)-1 ? typed : characters));
    el_insertstr(line, text);
    if (blank)
        el_insertstr(line, " ");
    free(before);
    free(wide);
    free(text);
    return true;
}

static unsigned char complete(EditLine *line, int key)
{
    (void)key;
    struct sql_editor *editor = editor_of(line);
    const LineInfo *info = el_line(line);
    size_t cursor = (size_t)(info->cursor - info->buffer);
    size_t bytes = (size_t)(info->lastchar - info->buffer);
    struct sql_completion completion = {0};
    editor->completer.complete(editor->completer.context, info->buffer, bytes, cursor, &completion);
    unsigned char answer = CC_REFRESH_BEEP;
    if (completion.count > 0 && completion.start <= cursor) {
        if (insert_common(line, &completion, cursor - completion.start))
            answer = CC_REFRESH;
        else
            answer = list_words(&completion);
    }
    sql_completion_release(&completion);
    return answer;
}

static void remember_here(struct sql_editor *editor, const char *text)
{
    HistEvent event;
    history(editor->entries, &event, H_ENTER, text);
    free(editor->last);
    editor->last = strdup(text);
}

static void load_entry(void *context, const char *text)
{
    remember_here(context, text);
}

static void load_history(struct sql_editor *editor)
{
    struct error error;
    if (sql_history_open(&editor->history, &error) ||
        (editor->history && sql_history_load(editor->history, load_entry, editor, &error)))
        verb_say(SQL_VERB, "note: no history: %s", error.text);
}

/* Whatever the environment says: text here is UTF-8, and libedit must know its characters. */
static void choose_characters(void)
{
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8");
}

static void set_up(struct sql_editor *editor)
{
    HistEvent event;
    history(editor->entries, &event, H_SETSIZE, SQL_HISTORY_ENTRIES_MAX);
    el_set(editor->line, EL_CLIENTDATA, editor);
    el_set(editor->line, EL_PROMPT, give_prompt);
    el_set(editor->line, EL_EDITOR, "emacs");
    el_set(editor->line, EL_HIST, history, editor->entries);
    /* The narrow form would copy both texts, and never free them. */
    el_wset(editor->line, EL_ADDFN, L"daybook-complete", L"Complete the word", complete);
    el_set(editor->line, EL_BIND, "^I", "daybook-complete", NULL);
    el_set(editor->line, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(editor->line, NULL); /* ~/.editrc may know better */
    el_set(editor->line, EL_GETCFN, read_character);
}

enum error_code sql_editor_open(const struct sql_editor_completer *completer,
                                struct sql_editor **editor_out, struct error *error)
{
    struct sql_editor *editor = calloc(1, sizeof *editor);
    if (!editor)
        return error_set(error, ERROR_MEMORY, "no memory for the line editor");
    choose_characters();
    editor->completer = *completer;
    editor->prompt = "";
    /* Prompt and keys go to stderr: stdout may be a file that wants the answers alone. */
    editor->line = el_init("daybook", stdin, stderr, stderr);
    editor->entries = history_init();
    if (!editor->line || !editor->entries) {
        sql_editor_close(editor);
        return error_set(error, ERROR_INVALID,
                         "this terminal cannot be used for editing lines (is TERM set?)");
    }
    set_up(editor);
    load_history(editor);
    *editor_out = editor;
    return OK;
}

enum sql_editor_answer sql_editor_read(struct sql_editor *editor, const char *prompt,
                                       const char **line_out)
{
    int bytes = 0;
    editor->prompt = prompt;
    editor->interrupted = false;
    sql_signals_take_interrupt(); /* one that came too late for what it was meant for */
    /* Before the prompt shows: libedit would wait for it, and a quick Ctrl-D be lost. */
    el_set(editor->line, EL_PREP_TERM, 1);
    const char *line = el_gets(editor->line, &bytes);
    if (editor->interrupted) {
        fputs("^C\n", stderr);
        return SQL_EDITOR_INTERRUPTED;
    }
    if (!line || bytes <= 0 || sql_signals_end())
        return SQL_EDITOR_END;
    *line_out = line;
    return SQL_EDITOR_LINE;
}

void sql_editor_remember(struct sql_editor *editor, const char *text)
{
    struct error error;
    if (!text[0] || (editor->last && strcmp(editor->last, text) == 0))
        return;
    remember_here(editor, text);
    if (sql_history_add(editor->history, text, &error)) {
        verb_say(SQL_VERB, "note: no more history: %s", error.text);
        sql_history_close(editor->history);
        editor->history = NULL;
    }
}

void sql_editor_close(struct sql_editor *editor)
{
    if (!editor)
        return;
    if (editor->line)
        el_end(editor->line);
    if (editor->entries)
        history_end(editor->entries);
    sql_history_close(editor->history);
    free(editor->last);
    free(editor);
}
