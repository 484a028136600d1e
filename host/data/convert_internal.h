/* What the files of host/data/convert*.c share. */
#ifndef FACET_CONVERT_INTERNAL_H
#define FACET_CONVERT_INTERNAL_H

#include "data/delimited.h"
#include "facet/convert.h"
#include "facet/schema.h"
#include "facet/shard.h"
#include "facet/sort.h"
#include "facet/vocabulary.h"

#define CONVERT_MAX_ATTRIBUTES 64
#define CONVERT_MAX_NAME 64

/* ---- configuration ------------------------------------------------------------------------------------------------ */

typedef enum convert_split_kind { CONVERT_SPLIT_USER, CONVERT_SPLIT_TIME } convert_split_kind;

typedef struct convert_options { /* section convert */
  char name[FACET_OPTION_MAX_TEXT];
  int64_t embedding_width, max_length, min_history, min_user_events, negatives, min_count;
  double popularity;
  int split; /* convert_split_kind */
  double valid_fraction, test_fraction;
  bool hour, weekday, keep_duplicates, drop_bad_rows, compress;
  int64_t seed, part_samples, memory_mb;
} convert_options;

typedef struct convert_file { /* sections interactions, users, items */
  char file[FACET_OPTION_MAX_TEXT], separator[FACET_OPTION_MAX_TEXT];
  bool header, quoted;
  char key[FACET_OPTION_MAX_TEXT]; /* users, items */
  char user[FACET_OPTION_MAX_TEXT], item[FACET_OPTION_MAX_TEXT], time[FACET_OPTION_MAX_TEXT];
  double time_unit; /* seconds per unit of the time column */
  char rating[FACET_OPTION_MAX_TEXT];
  double rating_at_least;
} convert_file;

typedef enum convert_attribute_type { CONVERT_ATTRIBUTE_ID, CONVERT_ATTRIBUTE_FLOAT } convert_attribute_type;

typedef struct convert_attribute { /* an entry of `columns` of users or items */
  char name[CONVERT_MAX_NAME];
  char column[FACET_OPTION_MAX_TEXT];     /* in the file; "" : the name */
  int type;                               /* convert_attribute_type */
  char separator[FACET_OPTION_MAX_TEXT];  /* of several values in the field; "" : one value */
  int64_t bag;                            /* most values kept, with a separator */
  char vocabulary[FACET_OPTION_MAX_TEXT]; /* "" : the name */
  int64_t width;                          /* embedding width; 0: the default */
  char missing[FACET_OPTION_MAX_TEXT];    /* float: value for an empty field; "" : an error */
} convert_attribute;

typedef struct convert_entity {  /* users or items */
  const char *name, *id_feature; /* "item", "item_id" */
  bool has_file;
  convert_file file;
  int n_attributes;
  convert_attribute attributes[CONVERT_MAX_ATTRIBUTES];
  /* while converting: */
  facet_vocabulary *raw;   /* every token of the log in order of appearance; raw index = id − 2 */
  facet_vocabulary *final; /* the vocabulary of the data set */
  int64_t *train_count;    /* [raw] events in the training split */
  int32_t *final_id;       /* [raw] 1: not in the vocabulary */
} convert_entity;

enum { CONVERT_USER, CONVERT_ITEM, CONVERT_N_ENTITIES };
enum { CONVERT_TRAIN, CONVERT_VALID, CONVERT_TEST, CONVERT_N_SPLITS };

/* ---- state of a conversion ------------------------------------------------------------------------------------------ */

typedef struct convert_event { /* a row of the log, sorted by (user, time, row) */
  int64_t time, row;
  int32_t user, item; /* raw indices */
  int32_t is_positive;
} convert_event;

typedef struct convert_counts {
  int64_t rows, kept;
  int64_t below_rating, bad, duplicates, short_users, short_user_rows, no_history; /* dropped, by reason */
  int64_t samples[CONVERT_N_SPLITS], positives[CONVERT_N_SPLITS], events[CONVERT_N_SPLITS], parts[CONVERT_N_SPLITS];
  int64_t unknown_users, unknown_items; /* samples whose user or item is not in the vocabulary */
  int64_t no_negative;                  /* negatives that could not be drawn */
} convert_counts;

typedef struct convert_log { /* one user's rows */
  convert_event *events;     /* positives, in order */
  int64_t n_events;
  int8_t *split;  /* [n_events] split of each event */
  int32_t *items; /* [n_items] raw items of the whole log, sorted, unique: never negatives */
  int64_t n_items;
  size_t events_capacity, split_capacity, items_capacity;
} convert_log;

typedef struct convert_attribute_vocabulary {
  char name[CONVERT_MAX_NAME];
  facet_vocabulary *vocabulary;
} convert_attribute_vocabulary;

typedef struct conversion {
  const facet_convert_request *request;
  convert_options options;
  convert_file interactions;
  convert_entity entities[CONVERT_N_ENTITIES];
  char config_directory[FACET_PATH_MAX], input[FACET_PATH_MAX], directory[FACET_PATH_MAX];
  facet_sorter *sorter;
  convert_event pending; /* first row of the next user, where has_pending */
  bool has_pending;
  int64_t valid_from, test_from; /* times, for the split by time */
  convert_log log;
  int n_vocabularies; /* of attributes, named when the configuration is read, opened with the tables */
  convert_attribute_vocabulary vocabularies[2 * CONVERT_MAX_ATTRIBUTES];
  facet_schema *schema;
  convert_counts counts;
} conversion;

/* Reads the configuration into self. */
facet_status convert_read_config(conversion *self);

/* Reads the interactions into the sorter, with raw ids. */
facet_status convert_read_interactions(conversion *self);

/* Goes to the first user (again). */
facet_status convert_first_user(conversion *self);
/* The next user with its split events in self->log; *has_user = false at the end. Users with too few events are left
 * out; drops are counted in *counts. */
facet_status convert_next_user(conversion *self, convert_counts *counts, bool *has_user);
/* Memory of each sort in bytes: the split by time sorts the times as well. */
size_t convert_sort_bytes(const conversion *self);
/* Times from which the validation and test splits begin (split by time). */
facet_status convert_find_time_limits(conversion *self);

/* Counts training events and gives the final ids of users and items. */
facet_status convert_assign_ids(conversion *self);

/* Reads the files of users and items, extends the attribute vocabularies, and writes tables.h5 once the schema exists. */
typedef struct convert_tables convert_tables;
facet_status convert_read_tables(conversion *self, convert_tables **tables);
facet_status convert_write_tables(const conversion *self, const convert_tables *tables);
void convert_destroy_tables(convert_tables **tables);

/* Checks the schema that the configuration leads to, before anything is read (its errors are those of usage). */
facet_status convert_check_schema(const conversion *self);
/* Makes self->schema and writes schema.yaml. */
facet_status convert_make_schema(conversion *self);

/* Draws negatives and writes the shards of all splits. */
facet_status convert_write_samples(conversion *self);

/* Creates the vocabulary, or loads it from the earlier data set where it has one; those of users and items it must have. */
facet_status convert_open_vocabulary(const conversion *self, const char *name, facet_vocabulary **vocabulary);
/* Id of a token that is not empty: found, added, or 1 with `freeze`. */
facet_status convert_token_id(const conversion *self, facet_vocabulary *vocabulary, const char *token, size_t n_bytes,
                              int32_t *id);

#endif
