#include "indexer/event_plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/time_text.h"

/* idxNum. */
enum {
    NUMBER_ORDER = 0x0f,
    NUMBER_BYTES = 0x10,
    NUMBER_PLACE = 0x20,
    NUMBER_PAYLOAD = 0x40,
    NUMBER_ROWS = 0x80, /* more than topics is asked for */
};

/* Column of a term that is about no column. */
enum { TERM_LIMIT = -1 };

/* What SQLite is told of sizes; fixed, as those of the index are (indexer/schema.c). */
#define ROWS_GUESS 1e6

/* What was found to be of use, while idxStr is being written. */
struct draft {
    const struct indexer_event_columns *columns;
    sqlite3_index_info *info;
    sqlite3_str *text;
    int arguments;  /* given out so far */
    double rows;    /* the guess */
    bool unique;    /* one sequence */
    bool has_topic; /* all rows are of one topic */
    bool has_field; /* they come through an indexed field */
};

static const struct indexer_event_column *column_at(const struct indexer_event_columns *columns,
                                                    int index)
{
    return &columns->columns[index < 0 ? 0 : index]; /* the rowid is seq, the first column */
}

static char operator_letter(int op)
{
    switch (op) {
    case SQLITE_INDEX_CONSTRAINT_EQ:
    case SQLITE_INDEX_CONSTRAINT_IS:
        return '=';
    case SQLITE_INDEX_CONSTRAINT_LT:
        return '<';
    case SQLITE_INDEX_CONSTRAINT_LE:
        return 'l';
    case SQLITE_INDEX_CONSTRAINT_GT:
        return '>';
    case SQLITE_INDEX_CONSTRAINT_GE:
        return 'g';
    case SQLITE_INDEX_CONSTRAINT_LIKE:
        return '%';
    case SQLITE_INDEX_CONSTRAINT_GLOB:
        return '*';
    default:
        return 0;
    }
}

static bool compares_bytes(sqlite3_index_info *info, int constraint)
{
    const char *collation = sqlite3_vtab_collation(info, constraint);
    return collation && strcmp(collation, "BINARY") == 0;
}

/* Does the table answer this comparison? *share_out is what part of the rows may be left. */
static bool is_answered(const struct draft *draft, int constraint, char letter, bool *exact_out,
                        double *share_out)
{
    const struct sqlite3_index_constraint *term = &draft->info->aConstraint[constraint];
    const struct indexer_event_column *column = column_at(draft->columns, term->iColumn);
    bool equal = letter == '=';
    bool is_range = letter != '%' && letter != '*';
    /* NULL IS NULL is true, but no row has a NULL in these columns. */
    *exact_out = true;
    switch (column->role) {
    case EVENT_COLUMN_SEQ:
        *share_out = equal ? 1 / ROWS_GUESS : 0.25;
        return is_range;
    case EVENT_COLUMN_TS:
        *share_out = equal ? 1e-5 : 0.25;
        return is_range;
    case EVENT_COLUMN_TIME:
        *share_out = equal ? 1e-5 : 0.25;
        *exact_out = false;
        return !is_range || compares_bytes(draft->info, constraint);
    case EVENT_COLUMN_TOPIC:
        *share_out = 0.1;
        return equal && !draft->has_topic && !column->hidden &&
               compares_bytes(draft->info, constraint);
    default:
        return false;
    }
}

/* What follows the number and the operator is for people who read EXPLAIN QUERY PLAN. */
static const char *term_name(const struct indexer_event_columns *columns, long column)
{
    return column == TERM_LIMIT ? "limit" : columns->columns[column].name;
}

static void write_term(struct draft *draft, int constraint, int column, char letter)
{
    sqlite3_str_appendf(draft->text, "%d%c%s ", column, letter,
                        term_name(draft->columns, column));
    draft->info->aConstraintUsage[constraint].argvIndex = ++draft->arguments;
}

static void take_term(struct draft *draft, int constraint)
{
    const struct sqlite3_index_constraint *term = &draft->info->aConstraint[constraint];
    if (!term->usable)
        return;
#ifdef SQLITE_INDEX_CONSTRAINT_LIMIT
    if (term->op == SQLITE_INDEX_CONSTRAINT_LIMIT) {
        write_term(draft, constraint, TERM_LIMIT, '=');
        return;
    }
#endif
    char letter = operator_letter(term->op);
    bool exact;
    double share;
    if (!letter || !is_answered(draft, constraint, letter, &exact, &share))
        return;
    const struct indexer_event_column *column = column_at(draft->columns, term->iColumn);
    write_term(draft, constraint, term->iColumn < 0 ? 0 : term->iColumn, letter);
    draft->info->aConstraintUsage[constraint].omit = exact;
    draft->rows *= share;
    draft->unique |= column->role == EVENT_COLUMN_SEQ && letter == '=';
    draft->has_topic |= column->role == EVENT_COLUMN_TOPIC;
}

/* Where there is no index, a join may make one (indexer/event_join.h). */
static void take_equality(struct draft *draft)
{
    for (int i = 0; i < draft->info->nConstraint; i++) {
        const struct sqlite3_index_constraint *term = &draft->info->aConstraint[i];
        if (term->usable && term->iColumn > 0 && term->op == SQLITE_INDEX_CONSTRAINT_EQ &&
            column_at(draft->columns, term->iColumn)->role == EVENT_COLUMN_FIELD &&
            compares_bytes(draft->info, i)) {
            write_term(draft, i, term->iColumn, '=');
            draft->rows *= 1e-3;
            return;
        }
    }
}

/* Of the comparisons with indexed fields the most selective one. */
static void take_field(struct draft *draft)
{
    int best = -1;
    for (int i = 0; i < draft->info->nConstraint; i++) {
        const struct sqlite3_index_constraint *term = &draft->info->aConstraint[i];
        const struct indexer_event_column *column = column_at(draft->columns, term->iColumn);
        char letter = operator_letter(term->op);
        if (!term->usable || term->iColumn < 0 || column->role != EVENT_COLUMN_FIELD ||
            !column->is_kept || !letter || letter == '%' || letter == '*' ||
            term->op == SQLITE_INDEX_CONSTRAINT_IS || !compares_bytes(draft->info, i))
            continue;
        if (best < 0 || letter == '=')
            best = i;
        if (letter == '=')
            break;
    }
    if (best < 0) {
        take_equality(draft);
        return;
    }
    const struct sqlite3_index_constraint *term = &draft->info->aConstraint[best];
    char letter = operator_letter(term->op);
    write_term(draft, best, term->iColumn, letter);
    draft->has_field = true;
    draft->rows *= letter == '=' ? 1e-5 : 0.1;
    for (int i = 0; i < draft->info->nConstraint && letter != '='; i++) { /* the other side */
        const struct sqlite3_index_constraint *other = &draft->info->aConstraint[i];
        char side = operator_letter(other->op);
        bool opposite = letter == '<' || letter == 'l' ? side == '>' || side == 'g'
                                                       : side == '<' || side == 'l';
        if (i != best && other->usable && other->iColumn == term->iColumn && opposite &&
            compares_bytes(draft->info, i)) {
            write_term(draft, i, term->iColumn, side);
            draft->rows *= 0.1;
            return;
        }
    }
}

static enum indexer_event_role order_role(const struct draft *draft, int index)
{
    return column_at(draft->columns, draft->info->aOrderBy[index].iColumn)->role;
}

/* The order that is asked for, when rows can come in it. */
static enum indexer_event_order find_order(const struct draft *draft)
{
    const sqlite3_index_info *info = draft->info;
    if (info->nOrderBy < 1 || info->nOrderBy > 2)
        return EVENT_ORDER_NONE;
    bool down = info->aOrderBy[0].desc;
    enum indexer_event_role role = order_role(draft, 0);
    if (role == EVENT_COLUMN_SEQ) /* … and whatever comes behind it */
        return down ? EVENT_ORDER_SEQ_DESC : EVENT_ORDER_SEQ;
    if (info->nOrderBy == 2 &&
        (order_role(draft, 1) != EVENT_COLUMN_SEQ || down != (bool)info->aOrderBy[1].desc))
        return EVENT_ORDER_NONE;
    if (role == EVENT_COLUMN_TS || role == EVENT_COLUMN_TIME) {
        if (draft->has_topic)
            return down ? EVENT_ORDER_TS_DESC : EVENT_ORDER_TS;
        return EVENT_ORDER_NONE;
    }
    bool by_topic = role == EVENT_COLUMN_TOPIC && info->nOrderBy == 1 && !down;
    return by_topic && !draft->has_field ? EVENT_ORDER_TOPIC : EVENT_ORDER_NONE;
}

static int needs_of(const struct indexer_event_columns *columns, sqlite3_uint64 used)
{
    int needs = 0;
    for (size_t i = 0; i < columns->count; i++) {
        if (!(used & (UINT64_C(1) << (i < 63 ? i : 63)))) /* the last bit is for all the others */
            continue;
        needs |= columns->columns[i].role != EVENT_COLUMN_TOPIC ? NUMBER_ROWS : 0;
        switch (columns->columns[i].role) {
        case EVENT_COLUMN_BYTES:
            needs |= NUMBER_BYTES;
            break;
        case EVENT_COLUMN_SEGMENT:
        case EVENT_COLUMN_OFFSET:
            needs |= NUMBER_PLACE;
            break;
        case EVENT_COLUMN_PAYLOAD:
        case EVENT_COLUMN_FIELD:
            needs |= NUMBER_PAYLOAD;
            break;
        default:
            break;
        }
    }
    return needs;
}

int indexer_event_plan_best(const struct indexer_event_columns *columns, bool one_topic,
                            sqlite3_index_info *info)
{
    struct draft draft = {
        .columns = columns,
        .info = info,
        .text = sqlite3_str_new(NULL),
        .rows = ROWS_GUESS,
    };
    draft.has_topic = one_topic;
    if (one_topic)
        draft.rows *= 0.1;
    for (int i = 0; i < info->nConstraint; i++)
        take_term(&draft, i);
    take_field(&draft);
    int failure = sqlite3_str_errcode(draft.text);
    char *text = sqlite3_str_finish(draft.text); /* NULL also when there is none */
    if (failure)
        return SQLITE_NOMEM;
    enum indexer_event_order order = find_order(&draft);
    int needs = needs_of(columns, info->colUsed) | (draft.arguments > 0 ? NUMBER_ROWS : 0);
    info->idxNum = (int)order | needs;
    info->idxStr = text;
    info->needToFreeIdxStr = text != NULL;
    info->orderByConsumed = order != EVENT_ORDER_NONE;
    if (draft.unique)
        info->idxFlags = SQLITE_INDEX_SCAN_UNIQUE;
    double rows = draft.unique || draft.rows < 1 ? 1 : draft.rows;
    info->estimatedRows = (sqlite3_int64)rows;
    info->estimatedCost = 10 + rows * (needs & NUMBER_PAYLOAD ? 4 : 1);
    return SQLITE_OK;
}

/* The smallest integer that is >= x (or > x), the largest that is <= x; outside: all or nothing. */
static void fold_real(char letter, double x, int64_t *first, int64_t *last, bool *empty)
{
    const double beyond = 9223372036854775808.0;
    bool down = letter == '<' || letter == 'l';
    bool whole = floor(x) == x;
    if (letter == '=' && (!whole || x >= beyond || x < -beyond)) {
        *empty = true;
        return;
    }
    if (x >= beyond || x < -beyond || (letter == '<' && x == -beyond)) {
        *empty |= down ? x < 0 : x > 0; /* every integer is on one side of it */
        return;
    }
    int64_t floored = (int64_t)floor(x); /* exact: floor(x) is an integer within the range */
    if (letter == '=' || letter == 'g' || letter == '>') {
        int64_t low = whole && letter != '>' ? floored : floored + 1;
        *first = low > *first ? low : *first;
    }
    if (letter == '=' || down) {
        int64_t high = whole && letter == '<' ? floored - 1 : floored;
        *last = high < *last ? high : *last;
    }
}

static void fold_integer(char letter, int64_t x, int64_t *first, int64_t *last, bool *empty)
{
    if (letter == '>' && x == INT64_MAX)
        *empty = true;
    else if (letter == '<' && x == INT64_MIN)
        *empty = true;
    else if (letter == '>')
        x++;
    else if (letter == '<')
        x--;
    if ((letter == '=' || letter == 'g' || letter == '>') && x > *first)
        *first = x;
    if ((letter == '=' || letter == 'l' || letter == '<') && x < *last)
        *last = x;
}

/* Narrow a range of integers by one comparison, as SQLite would compare. */
static void fold(char letter, sqlite3_value *value, int64_t *first, int64_t *last, bool *empty)
{
    switch (sqlite3_value_numeric_type(value)) {
    case SQLITE_INTEGER:
        fold_integer(letter, sqlite3_value_int64(value), first, last, empty);
        break;
    case SQLITE_FLOAT:
        fold_real(letter, sqlite3_value_double(value), first, last, empty);
        break;
    case SQLITE_NULL:
        *empty = true;
        break;
    default: /* every integer is less than every text and every blob */
        *empty |= letter != '<' && letter != 'l';
    }
}

/*
 * A number is compared as its text, or, when it comes from a column of numbers, as a number, which
 * is less than every text. Which of the two, nobody tells us: the range is wide enough for both.
 */
static void fold_time(char letter, sqlite3_value *value, struct indexer_event_plan *plan)
{
    int type = sqlite3_value_type(value);
    if ((type == SQLITE_INTEGER || type == SQLITE_FLOAT) && (letter == '>' || letter == 'g'))
        return;
    if (type == SQLITE_NULL)
        plan->empty = true;
    if (type == SQLITE_NULL || type == SQLITE_BLOB)
        return;
    const char *text = (const char *)sqlite3_value_text(value);
    if (!text)
        return; /* SQLite compares all rows then, and says that there is no memory */
    size_t bytes = (size_t)sqlite3_value_bytes(value);
    if (letter == '%' || letter == '*')
        bytes = strcspn(text, letter == '%' ? "%_" : "*?[");
    int64_t first, last;
    indexer_time_text_range(text, bytes, &first, &last);
    if (letter != '<' && letter != 'l' && first > plan->ts_first)
        plan->ts_first = first;
    if (letter != '>' && letter != 'g' && last < plan->ts_last)
        plan->ts_last = last;
}

void indexer_event_plan_set_topic(struct indexer_event_plan *plan, const char *topic,
                                  size_t topic_bytes)
{
    bool other = plan->has_topic && (topic_bytes != plan->topic_bytes ||
                                     memcmp(topic, plan->topic, topic_bytes) != 0);
    if (topic_bytes > sizeof plan->topic || other) {
        plan->empty = true;
        return;
    }
    plan->has_topic = true;
    plan->topic_bytes = topic_bytes;
    memcpy(plan->topic, topic, topic_bytes);
}

static void fold_topic(sqlite3_value *value, struct indexer_event_plan *plan)
{
    int type = sqlite3_value_type(value);
    const char *text = NULL;
    if (type != SQLITE_NULL && type != SQLITE_BLOB)
        text = (const char *)sqlite3_value_text(value);
    if (text)
        indexer_event_plan_set_topic(plan, text, (size_t)sqlite3_value_bytes(value));
    else
        plan->empty = true;
}

static void fold_field(const struct indexer_event_column *column, char letter,
                       sqlite3_value *value, struct indexer_event_plan *plan)
{
    struct indexer_event_field *field = &plan->field;
    if (sqlite3_value_type(value) == SQLITE_NULL)
        plan->empty = true;
    if (!column->is_kept) {
        plan->equal_column = column;
        plan->equal_value = value;
        return;
    }
    if (field->count == sizeof field->operators)
        return;
    field->column = column;
    field->operators[field->count] = letter;
    field->values[field->count++] = value;
}

static void take_value(const struct indexer_event_columns *columns, long index, char letter,
                       sqlite3_value *value, struct indexer_event_plan *plan)
{
    if (index == TERM_LIMIT) {
        int64_t limit = sqlite3_value_int64(value);
        plan->limit = limit < 0 ? -1 : limit;
        return;
    }
    const struct indexer_event_column *column = &columns->columns[index];
    switch (column->role) {
    case EVENT_COLUMN_SEQ:
        fold(letter, value, &plan->sequence_first, &plan->sequence_last, &plan->empty);
        break;
    case EVENT_COLUMN_TS:
        fold(letter, value, &plan->ts_first, &plan->ts_last, &plan->empty);
        break;
    case EVENT_COLUMN_TIME:
        fold_time(letter, value, plan);
        break;
    case EVENT_COLUMN_TOPIC:
        fold_topic(value, plan);
        break;
    default:
        fold_field(column, letter, value, plan);
    }
}

void indexer_event_plan_take(const struct indexer_event_columns *columns, int number,
                             const char *text, int argc, sqlite3_value **argv,
                             struct indexer_event_plan *plan_out)
{
    struct indexer_event_plan plan = {
        .order = (enum indexer_event_order)(number & NUMBER_ORDER),
        .needs_rows = number & NUMBER_ROWS,
        .needs_bytes = number & NUMBER_BYTES,
        .needs_place = number & NUMBER_PLACE,
        .needs_payload = number & NUMBER_PAYLOAD,
        .sequence_first = 1,
        .sequence_last = (int64_t)EVENT_SEQUENCE_END - 1,
        .ts_first = INT64_MIN,
        .ts_last = INT64_MAX,
        .limit = -1,
    };
    for (int i = 0; text && i < argc && *text; i++) {
        char *end;
        long index = strtol(text, &end, 10);
        take_value(columns, index, *end, argv[i], &plan);
        text = end + 1 + strlen(term_name(columns, index)) + 1;
    }
    plan.empty |= plan.sequence_first > plan.sequence_last || plan.ts_first > plan.ts_last;
    *plan_out = plan;
}
