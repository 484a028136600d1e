/* What the files of host/data/convert*.c share. */
#ifndef FACET_CONVERT_INTERNAL_H
#define FACET_CONVERT_INTERNAL_H

#include "data/dataset_writer.h"
#include "data/delimited.h"
#include "data/schema_text.h"
#include "facet/convert.h"
#include "facet/schema.h"
#include "facet/sort.h"
#include "facet/vocabulary.h"

#define CONVERT_MAX_ATTRIBUTES 64
#define CONVERT_MAX_NAME (FACET_SCHEMA_MAX_NAME + 1) /* with the 0 byte */

/* ---- configuration ----------------------------------------------------------------------------------------------- */

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

typedef struct convert_file { /* what sections interactions, impressions, history, users and items have in common */
  char file[FACET_OPTION_MAX_TEXT], separator[FACET_OPTION_MAX_TEXT];
  bool header, quoted;
  char key[FACET_OPTION_MAX_TEXT]; /* users, items, history */
  char user[FACET_OPTION_MAX_TEXT], item[FACET_OPTION_MAX_TEXT], time[FACET_OPTION_MAX_TEXT];
  double time_unit;                        /* seconds per unit of the time column */
  char time_format[FACET_OPTION_MAX_TEXT]; /* of strptime; "": a number */
  int64_t time_from, time_until;           /* seconds; rows outside are dropped */
  char rating[FACET_OPTION_MAX_TEXT];
  double rating_at_least;
  char kind[FACET_OPTION_MAX_TEXT], event_kinds[FACET_OPTION_MAX_TEXT], sample_kinds[FACET_OPTION_MAX_TEXT];
} convert_file;

typedef enum convert_group { CONVERT_GROUP_IMPRESSION, CONVERT_GROUP_USER } convert_group;

typedef struct convert_impressions { /* section impressions */
  convert_file log;                  /* its file holds the training split, or all */
  char valid_file[FACET_OPTION_MAX_TEXT], test_file[FACET_OPTION_MAX_TEXT];
  char impression[FACET_OPTION_MAX_TEXT], shown[FACET_OPTION_MAX_TEXT], clicked[FACET_OPTION_MAX_TEXT];
  char list_separator[FACET_OPTION_MAX_TEXT], label_separator[FACET_OPTION_MAX_TEXT];
  int group; /* convert_group */
} convert_impressions;

typedef struct convert_history { /* section history */
  convert_file log;              /* without file: columns of the impressions' rows */
  char valid_file[FACET_OPTION_MAX_TEXT], test_file[FACET_OPTION_MAX_TEXT];
  char items[FACET_OPTION_MAX_TEXT], list_separator[FACET_OPTION_MAX_TEXT];
} convert_history;

typedef enum convert_attribute_type { CONVERT_ATTRIBUTE_ID, CONVERT_ATTRIBUTE_FLOAT } convert_attribute_type;

typedef struct convert_attribute { /* an entry of `columns` */
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

/* A column of the log itself: of its samples (context) or of its events. A value is one int32 word while converting: the
 * raw index of an id (−1: the field is empty), or the bits of a float. */
typedef struct convert_field {
  const convert_attribute *attribute;
  int feature; /* in the schema, once it is made */
  float missing;
  bool has_missing;
  facet_vocabulary *raw, *final; /* of ids; final belongs to the conversion's list of vocabularies */
  int64_t *train_count;          /* [raw] */
  int32_t *final_id;             /* [raw] */
} convert_field;

typedef struct convert_fields {
  int n;
  convert_attribute attributes[CONVERT_MAX_ATTRIBUTES];
  convert_field field[CONVERT_MAX_ATTRIBUTES];
} convert_fields;

enum { CONVERT_USER, CONVERT_ITEM, CONVERT_N_ENTITIES };

/* ---- state of a conversion --------------------------------------------------------------------------------------- */

typedef struct convert_event { /* a row of the log, sorted by (user, time, row); a word per event field follows */
  int64_t time, row;
  int32_t user, item;       /* raw indices */
  int32_t kind;             /* raw index; 0 without kinds */
  bool is_event, is_sample; /* whether histories hold it; whether it is a sample, too */
} convert_event;

typedef struct convert_counts {
  int64_t rows, kept;
  int64_t below_rating, other_kind, outside, bad, duplicates, short_users, short_user_rows,
      no_history;                       /* dropped, by reason */
  int64_t positives[N_SPLITS];          /* samples */
  int64_t unknown_users, unknown_items; /* samples whose user or item is not in the vocabulary */
  int64_t no_negative;                  /* negatives that could not be drawn */
  /* of impressions: */
  int64_t nothing_shown, shown_again, short_history; /* rows; showings; rows */
  int64_t no_list, unsorted, later_events;           /* rows without a list in the file of histories; lists; rows */
} convert_counts;

typedef struct convert_log { /* one user's rows */
  convert_event *events;     /* those with is_event, in order */
  int64_t n_events;
  int32_t *fields; /* [n_events × event fields] */
  int8_t *split;   /* [n_events] split of each event */
  int32_t *items;  /* [n_items] raw items of the whole log, sorted, unique: never negatives */
  int64_t n_items;
  size_t events_capacity, split_capacity, items_capacity, fields_capacity;
} convert_log;

typedef struct convert_record { /* what is sorted: the event and as many words as there are event fields */
  convert_event event;
  int32_t fields[CONVERT_MAX_ATTRIBUTES];
} convert_record;

typedef struct convert_attribute_vocabulary {
  char name[CONVERT_MAX_NAME];
  facet_vocabulary *vocabulary;
} convert_attribute_vocabulary;

typedef struct convert_impression_log convert_impression_log;

typedef struct conversion {
  const facet_convert_request *request;
  convert_options options;
  convert_file interactions; /* one of these, */
  bool has_impressions;
  convert_impressions impressions; /* or these with their histories */
  convert_history history;
  convert_fields context, event_fields; /* columns of the log */
  convert_entity entities[CONVERT_N_ENTITIES];
  facet_vocabulary *kinds; /* raw kinds of interactions */
  char config_directory[FACET_PATH_MAX], input[FACET_PATH_MAX], directory[FACET_PATH_MAX];
  facet_sorter *sorter;
  convert_record pending; /* first row of the next user, where has_pending */
  bool has_pending;
  int64_t valid_from, test_from; /* times, for the split by time */
  convert_log log;
  convert_impression_log *impression_log;
  int n_vocabularies; /* of attributes and fields, named when the configuration is read, opened with the tables */
  convert_attribute_vocabulary vocabularies[4 * CONVERT_MAX_ATTRIBUTES];
  facet_schema *schema;
  split_writer splits[N_SPLITS];
  convert_counts counts;
} conversion;

/* Reads the configuration into self. */
facet_status convert_read_config(conversion *self);

/* Reads the interactions into the sorter, with raw ids. */
facet_status convert_read_interactions(conversion *self);

/* Bytes of a record with the event fields that there are. */
size_t convert_record_bytes(const conversion *self);

/* Opens a file of the input directory in the format of its section. */
facet_status convert_open_text(const conversion *self, const convert_file *file, const char *name,
                               delimited_reader **reader);
/* Whole seconds since 1970 of a field in the file's format; a fraction is cut. */
bool convert_read_time(const convert_file *file, const delimited_field *field, int64_t *time);
/* What convert_read_time expects, for messages. */
const char *convert_time_expected(const convert_file *file, char *text, size_t n_bytes);
/* A bad row of the log is the error, or dropped and counted: FACET_OK. */
facet_status convert_bad_row(conversion *self, const delimited_reader *reader, const char *what, const char *value,
                             const char *expected);
/* The same for a row with another number of fields than there are columns. */
facet_status convert_bad_width(conversion *self, const delimited_reader *reader, int n_fields);
/* Checks that there is a user, and reads the time; *is_good = false for a bad row. */
facet_status convert_read_key(conversion *self, const delimited_reader *reader, const convert_file *file,
                              const delimited_field *user, const delimited_field *time, int64_t *seconds,
                              bool *is_good);
/* The next name of a list like "pv, buy", not 0-terminated; false at the end. */
bool convert_next_name(const char **list, delimited_field *name);
bool convert_is_listed(const char *list, const delimited_field *name);
/* Index of a token among those of the log, which it joins if it is new. */
facet_status convert_raw_index(facet_vocabulary *raw, const delimited_reader *reader, const char *text, size_t n_bytes,
                               int32_t *index);

/* Reads the impressions into the sorter, with raw ids, and finds the times of the splits. */
facet_status convert_read_impressions(conversion *self);
/* Counts the training split's impressions, showings, events and fields. */
facet_status convert_count_impressions(conversion *self);
facet_status convert_write_impressions(conversion *self);
void convert_destroy_impressions(conversion *self);

/* Prepares columns of the log, whose attributes have been read: their defaults and raw vocabularies. */
facet_status convert_open_fields(conversion *self, convert_fields *fields);
void convert_close_fields(convert_fields *fields);
/* A value as a word; *is_good = false if it is no number. */
facet_status convert_read_field(convert_field *field, const delimited_reader *reader, const char *text, size_t n_bytes,
                                int32_t *word, bool *is_good);
/* Once the log has been read: memory of the counts. */
facet_status convert_start_field_counts(convert_fields *fields);
/* Counts a value of the training split (a float: nothing to count). */
void convert_count_field(convert_field *field, int32_t word);
/* Gives the values of the training split ids. */
facet_status convert_assign_field_ids(conversion *self, convert_fields *fields);
/* Appends the words of n samples or events, at words[0], words[stride], …; scratch holds n. */
facet_status convert_append_field(facet_shard_writer *part, const convert_field *field, const int32_t *words,
                                  int64_t stride, int64_t n, int32_t *scratch);

/* Goes to the first user (again). */
facet_status convert_first_user(conversion *self);
/* The next user with its split events in self->log; *has_user = false at the end. Users with too few events are left
 * out; drops are counted in *counts. */
facet_status convert_next_user(conversion *self, convert_counts *counts, bool *has_user);
/* Memory of each sort in bytes: the split by time sorts the times as well. */
size_t convert_sort_bytes(const conversion *self);
/* Times from which the validation and test splits begin (split by time). */
facet_status convert_find_time_limits(conversion *self);

/* The same from the times of all samples, which it sorts. */
facet_status convert_time_quantiles(conversion *self, facet_sorter *times);
int convert_compare_times(const void *a, const void *b); /* int64_t */
int convert_split_of_time(const conversion *self, int64_t time);

/* Counts training events and gives the final ids of users and items, and of the values of fields. */
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

#define CONVERT_N_HOURS 24
#define CONVERT_N_WEEKDAYS 7

/* Ids of the context features of a time. */
int32_t convert_hour_id(int64_t time);
int32_t convert_weekday_id(int64_t time);

/* The vocabulary of an attribute or field by its name, which is in the conversion's list. */
facet_status convert_attribute_vocabulary_get(conversion *self, const char *name, facet_vocabulary **vocabulary);
/* Ids of raw tokens: those that occur at least min_count times join the vocabulary, others keep an id that it has, or 1. */
facet_status convert_assign_token_ids(const conversion *self, const facet_vocabulary *raw, facet_vocabulary *final,
                                      const int64_t *train_count, int64_t min_count, int32_t *final_id);
/* The value of a float attribute for empty fields, if it has one. */
facet_status convert_read_missing(const conversion *self, const convert_attribute *attribute, float *missing,
                                  bool *has_missing);
/* A finite number that float32 holds. */
bool convert_read_float(const delimited_field *field, float *value);
/* Creates the vocabulary, or loads it from the earlier data set where it has one; those of users and items it must have. */
facet_status convert_open_vocabulary(const conversion *self, const char *name, facet_vocabulary **vocabulary);
/* Id of a token that is not empty: found, added, or 1 with `freeze`. */
facet_status convert_token_id(const conversion *self, facet_vocabulary *vocabulary, const char *token, size_t n_bytes,
                              int32_t *id);

#endif
