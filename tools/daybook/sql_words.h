/*
 * tools/daybook/sql_words.h - SQL text as words, as far as completion has to understand it.
 *
 * Never fails: text that is no SQL gives words all the same. The words point into the text.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_SQL_WORDS_H
#define DAYBOOK_TOOLS_DAYBOOK_SQL_WORDS_H

#include <stdbool.h>
#include <stddef.h>

enum sql_word_kind {
    SQL_WORD_NAME,    /* a keyword, or a name without quotes */
    SQL_WORD_QUOTED,  /* "a name" in double quotes, backticks or brackets */
    SQL_WORD_STRING,  /* 'text' */
    SQL_WORD_NUMBER,
    SQL_WORD_MARK,    /* an operator or another sign */
    SQL_WORD_COMMENT, /* one that the text does not end: all others are passed over */
};

struct sql_word {
    enum sql_word_kind kind;
    const char *at; /* with its quotes */
    size_t bytes;
    bool open; /* the closing quote is missing */
};

/*
 * The word at or behind *at, which moves behind it. False: there is none before `end`. A comment of
 * one line that reaches `end` without a line break is open only for who completes: see
 * sql_words_ends_in_comment.
 */
bool sql_words_next(const char **at, const char *end, struct sql_word *word_out);
/* Does the text end within a comment, so that what is typed next belongs to it? */
bool sql_words_ends_in_comment(const char *text, size_t text_bytes);

/* Is it this word, whatever the case? Not for quoted ones. */
bool sql_word_is(const struct sql_word *word, const char *text);

/* The keywords that one may need here, all in upper case, sorted; NULL behind the last. */
const char *sql_words_keyword(size_t n);
bool sql_words_is_keyword(const struct sql_word *word);

#endif
