#include "indexer/event_field.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/database.h"

enum class { CLASS_NONE, CLASS_TEXTS, CLASS_NUMBERS, CLASS_MIXED };

struct indexer_event_field_check {
    struct indexer_host *host;
    sqlite3_stmt *find;
    sqlite3_stmt *look; /* at the values of the table `look_id` */
    int64_t look_id;
    /* What was found last; it holds as long as nobody has changed the index. */
    const struct indexer_event_column *column; /* NULL: nothing was asked yet */
    uint32_t version;                          /* SQLite's, of the data */
    int64_t id;
    enum class class;
};

/* See INDEXER_SCHEMA_FIELD_DONE. */
static const char find_sql[] = "SELECT id FROM %s.field_rows WHERE topic = ?1 AND path = ?2"
                               " AND done_seq >= until_seq"
                               " AND lost_seq < (SELECT bound FROM %s.state)";

enum error_code indexer_event_field_check_create(struct indexer_host *host,
                                                 struct indexer_event_field_check **check_out,
                                                 struct error *error)
{
    struct indexer_event_field_check *check = calloc(1, sizeof *check);
    if (!check)
        return error_set(error, ERROR_MEMORY, "no memory for a query over a field");
    check->host = host;
    enum error_code code =
        indexer_database_prepare_in(host->database, host->schema, find_sql, &check->find, error);
    if (code)
        free(check);
    else
        *check_out = check;
    return code;
}

void indexer_event_field_check_free(struct indexer_event_field_check *check)
{
    if (!check)
        return;
    sqlite3_finalize(check->find);
    sqlite3_finalize(check->look);
    free(check);
}

/* The table with all values; 0: there is none. */
static enum error_code find_table(struct indexer_event_field_check *check,
                                  const struct indexer_event_plan *plan, int64_t *id_out,
                                  struct error *error)
{
    const struct indexer_event_column *column = plan->field.column;
    sqlite3_bind_text(check->find, 1, plan->topic, (int)plan->topic_bytes, SQLITE_STATIC);
    sqlite3_bind_text(check->find, 2, column->path_text, -1, SQLITE_STATIC);
    enum error_code code = indexer_database_step(check->find, error);
    *id_out = code ? 0 : sqlite3_column_int64(check->find, 0);
    sqlite3_reset(check->find);
    return code == ERROR_END ? OK : code;
}

static enum class class_of_type(const char *type)
{
    if (!type || strcmp(type, "null") == 0)
        return CLASS_NONE;
    return strcmp(type, "text") == 0 ? CLASS_TEXTS : CLASS_NUMBERS;
}

static enum error_code prepare_look(struct indexer_event_field_check *check, int64_t id,
                                    struct error *error)
{
    char sql[160];
    if (check->look && check->look_id == id)
        return OK;
    sqlite3_finalize(check->look);
    check->look = NULL;
    sqlite3_snprintf(sizeof sql, sql,
                     "SELECT (SELECT typeof(min(value)) FROM %%s.field_%lld),"
                     " (SELECT typeof(max(value)) FROM %%s.field_%lld)",
                     (long long)id, (long long)id);
    check->look_id = id;
    return indexer_database_prepare_in(check->host->database, check->host->schema, sql,
                                       &check->look, error);
}

/* SQLite orders numbers before texts: the first and the last value tell of all. */
static enum error_code read_class(struct indexer_event_field_check *check, int64_t id,
                                  struct error *error)
{
    enum error_code code = prepare_look(check, id, error);
    if (!code)
        code = indexer_database_step(check->look, error);
    if (!code) {
        enum class first = class_of_type((const char *)sqlite3_column_text(check->look, 0));
        enum class last = class_of_type((const char *)sqlite3_column_text(check->look, 1));
        check->class = first == last ? first : CLASS_MIXED;
    }
    sqlite3_reset(check->look);
    return code;
}

/* From here on not every integer is a double. */
#define DOUBLE_EXACT 9007199254740992.0

static enum class class_of_value(const struct indexer_event_column *column, sqlite3_value *value)
{
    /* A column of numbers makes numbers of texts that look like one. */
    bool converts = column->type[0] && column->type[0] != 'T';
    switch (converts ? sqlite3_value_numeric_type(value) : sqlite3_value_type(value)) {
    case SQLITE_INTEGER:
    case SQLITE_FLOAT:
        return CLASS_NUMBERS;
    case SQLITE_TEXT:
        return CLASS_TEXTS;
    default:
        return CLASS_NONE;
    }
}

/* A column of reals rounds large integers, and the index does not. */
static bool is_rounded(const struct indexer_event_column *column, sqlite3_value *value)
{
    return column->type[0] == 'R' && fabs(sqlite3_value_double(value)) >= DOUBLE_EXACT;
}

/* A column with a type compares its values as of that type, and the index as what they are. */
static bool fits_column(const struct indexer_event_column *column, enum class class)
{
    if (!column->type[0])
        return true;
    return class == (column->type[0] == 'T' ? CLASS_TEXTS : CLASS_NUMBERS);
}

static bool compares(const struct indexer_event_column *column, enum class class,
                     sqlite3_value *value)
{
    return fits_column(column, class) && class_of_value(column, value) == class &&
           !is_rounded(column, value);
}

bool indexer_event_field_compares(const struct indexer_event_column *column, bool texts,
                                  sqlite3_value *value)
{
    return compares(column, texts ? CLASS_TEXTS : CLASS_NUMBERS, value);
}

static bool is_answered(const struct indexer_event_field_check *check,
                        const struct indexer_event_field *field)
{
    if (check->class == CLASS_NONE)
        return true; /* there are no values */
    for (size_t i = 0; i < field->count; i++)
        if (!compares(field->column, check->class, field->values[i]))
            return false;
    return true;
}

/* Two statements, which short queries would feel. Within a transaction that reads. */
static enum error_code find(struct indexer_event_field_check *check,
                            const struct indexer_event_plan *plan, struct error *error)
{
    uint32_t version = 0;
    bool told = sqlite3_file_control(check->host->database, check->host->schema,
                                     SQLITE_FCNTL_DATA_VERSION, &version) == SQLITE_OK;
    if (told && check->column == plan->field.column && check->version == version)
        return OK;
    check->column = NULL;
    enum error_code code = find_table(check, plan, &check->id, error);
    if (!code && check->id)
        code = read_class(check, check->id, error);
    if (code)
        return code;
    check->column = plan->field.column;
    check->version = version;
    return OK;
}

enum error_code indexer_event_field_check_plan(struct indexer_event_field_check *check,
                                               struct indexer_event_plan *plan,
                                               struct error *error)
{
    struct indexer_event_field *field = &plan->field;
    enum error_code code = find(check, plan, error);
    if (code)
        return code;
    field->id = check->id && is_answered(check, field) ? check->id : 0;
    if (field->id)
        return OK;
    if (field->operators[0] == '=') {
        plan->equal_column = field->column;
        plan->equal_value = field->values[0];
    }
    *field = (struct indexer_event_field){0};
    return OK;
}
