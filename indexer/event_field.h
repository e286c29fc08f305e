/*
 * indexer/event_field.h - may the values that the index keeps of a field answer this comparison?
 *
 * Only when they are complete in the snapshot at hand (indexer/fields.h), and when nothing has to
 * be converted: all values are texts and the other side is one, or all are numbers and the other
 * side is one, and that is the column's type, where it has one. Otherwise SQL's rules would look at
 * both sides' types, and we know only one. Internal to indexer/.
 */
#ifndef DAYBOOK_INDEXER_EVENT_FIELD_H
#define DAYBOOK_INDEXER_EVENT_FIELD_H

#include "indexer/event_plan.h"
#include "indexer/host.h"

struct indexer_event_field_check;

/* For the plans of one table. Borrows the host, which must outlive it. */
enum error_code indexer_event_field_check_create(struct indexer_host *host,
                                                 struct indexer_event_field_check **check_out,
                                                 struct error *error);
/*
 * plan->field.id becomes that of the table to ask; 0: the index does not answer, and the plan is
 * one without a field.
 */
enum error_code indexer_event_field_check_plan(struct indexer_event_field_check *check,
                                               struct indexer_event_plan *plan,
                                               struct error *error);
/*
 * The same question about values that are at hand otherwise: all texts (or else all numbers). May
 * convert `value` to a number, as the comparison would.
 */
bool indexer_event_field_compares(const struct indexer_event_column *column, bool texts,
                                  sqlite3_value *value);
/* Accepts NULL. */
void indexer_event_field_check_free(struct indexer_event_field_check *check);

#endif
