/*
 * tests/campaigns/model_reading.h - what readers must see, compared with the model.
 */
#ifndef DAYBOOK_TESTS_CAMPAIGNS_MODEL_READING_H
#define DAYBOOK_TESTS_CAMPAIGNS_MODEL_READING_H

#include "tests/campaigns/model_world.h"

/* A new reader gives exactly what is durable and not deleted. */
bool model_reading_all(struct model_world *world);
/* From some sequence on: one that is there, that is missing, deleted, or not given yet. */
bool model_reading_from(struct model_world *world, uint64_t draw);
/* The events of a topic between two times, whatever the reader leaves out because of the hint. */
bool model_reading_window(struct model_world *world, uint64_t draw);
/* A reader that stays open: open or replace one, move it, read on with it. */
bool model_reading_open(struct model_world *world, uint64_t draw);
bool model_reading_seek(struct model_world *world, uint64_t draw);
bool model_reading_next(struct model_world *world, uint64_t draw);

#endif
