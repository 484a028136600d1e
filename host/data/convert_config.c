/* The configuration of a conversion: tables of options and reading. */
#include <libgen.h>
#include <string.h>

#include "data/convert_internal.h"
#include "facet/yaml.h"

#define CONVERT(name) offsetof(convert_options, name)
#define FILE_(name) offsetof(convert_file, name)
#define IMPRESSIONS(name) offsetof(convert_impressions, name)
#define HISTORY(name) offsetof(convert_history, name)
#define ATTRIBUTE(name) offsetof(convert_attribute, name)
/* FILE_ serves these too. */
_Static_assert(offsetof(convert_impressions, log) == 0 && offsetof(convert_history, log) == 0, "log comes first");

static const char *const split_choices[] = {"user", "time", NULL};
static const char *const group_choices[] = {"impression", "user", NULL};
static const char *const type_choices[] = {"id", "float", NULL};

static const facet_option convert_table[] = {
    {"name", FACET_OPTION_STRING, CONVERT(name), NULL, 0, 0, NULL, "Name of the data set."},
    {"embedding_width", FACET_OPTION_INT, CONVERT(embedding_width), "8", 1, 4096, NULL,
     "Default embedding width in the schema."},
    {"max_length", FACET_OPTION_INT, CONVERT(max_length), "50", 1, 1e5, NULL, "Events in the longest history window."},
    {"min_history", FACET_OPTION_INT, CONVERT(min_history), "1", 0, 1e5, NULL,
     "A sample needs at least this many earlier events of its user."},
    {"min_user_events", FACET_OPTION_INT, CONVERT(min_user_events), "3", 1, 1e9, NULL,
     "Users with fewer positive interactions are dropped."},
    {"min_count", FACET_OPTION_INT, CONVERT(min_count), "1", 1, 1e9, NULL,
     "A user or item gets an id if it occurs this often in the training split; else it is unknown."},
    {"negatives", FACET_OPTION_INT, CONVERT(negatives), "1", 0, 1000, NULL, "Sampled negatives per positive sample."},
    {"popularity", FACET_OPTION_DOUBLE, CONVERT(popularity), "0", 0, 2, NULL,
     "Negatives are drawn with probability proportional to (training count)^popularity; 0: uniform."},
    {"split", FACET_OPTION_CHOICE, CONVERT(split), "user", 0, 0, split_choices,
     "user: each user's last sample is test, the one before it validation. time: the latest interactions are."},
    {"valid_fraction", FACET_OPTION_DOUBLE, CONVERT(valid_fraction), "0.1", 0, 0.9, NULL,
     "Split by time: share of the interactions in the validation split."},
    {"test_fraction", FACET_OPTION_DOUBLE, CONVERT(test_fraction), "0.1", 0, 0.9, NULL,
     "Split by time: share of the interactions in the test split."},
    {"hour", FACET_OPTION_BOOL, CONVERT(hour), "false", 0, 0, NULL,
     "Context feature: hour of the sample's time (UTC)."},
    {"weekday", FACET_OPTION_BOOL, CONVERT(weekday), "false", 0, 0, NULL, "Context feature: day of the week (UTC)."},
    {"keep_duplicates", FACET_OPTION_BOOL, CONVERT(keep_duplicates), "false", 0, 0, NULL,
     "Keep rows that repeat user, item and time of the row before, and items shown again in their impression."},
    {"drop_bad_rows", FACET_OPTION_BOOL, CONVERT(drop_bad_rows), "false", 0, 0, NULL,
     "Drop and count rows with missing fields or unreadable numbers; else the first one is an error."},
    {"seed", FACET_OPTION_INT, CONVERT(seed), "1", 0, 9e15, NULL, "Key of the negatives."},
    {"part_samples", FACET_OPTION_INT, CONVERT(part_samples), "1000000", 1, 1e12, NULL,
     "A part is closed at the end of the user that reaches this many samples."},
    {"compress", FACET_OPTION_BOOL, CONVERT(compress), "false", 0, 0, NULL, "Write chunked, compressed shards."},
    {"memory_mb", FACET_OPTION_INT, CONVERT(memory_mb), "256", 1, 1e6, NULL,
     "Budget of the sort; beyond it runs spill."},
    {0}};

/* Options of every section of a file, behind its name. */
#define FORMAT_OPTIONS                                                                                                 \
  {"separator",                                                                                                        \
   FACET_OPTION_STRING,                                                                                                \
   FILE_(separator),                                                                                                   \
   "tab",                                                                                                              \
   0,                                                                                                                  \
   0,                                                                                                                  \
   NULL,                                                                                                               \
   "tab, comma, semicolon, space, or the characters themselves."},                                                     \
      {"header",                                                                                                       \
       FACET_OPTION_BOOL,                                                                                              \
       FILE_(header),                                                                                                  \
       "true",                                                                                                         \
       0,                                                                                                              \
       0,                                                                                                              \
       NULL,                                                                                                           \
       "The first line names the columns; else columns are numbered from 1."},                                         \
  {                                                                                                                    \
    "quoted", FACET_OPTION_BOOL, FILE_(quoted), "false", 0, 0, NULL, "Fields may be in double quotes."                 \
  }

#define TIME_OPTIONS                                                                                                   \
  {"time", FACET_OPTION_STRING, FILE_(time), NULL, 0, 0, NULL, "Column of the time."},                                 \
      {"time_unit",                                                                                                    \
       FACET_OPTION_DOUBLE,                                                                                            \
       FILE_(time_unit),                                                                                               \
       "1",                                                                                                            \
       1e-9,                                                                                                           \
       1e9,                                                                                                            \
       NULL,                                                                                                           \
       "Seconds per unit of a time that is a number: 0.001 for milliseconds."},                                        \
      {"time_format",                                                                                                  \
       FACET_OPTION_STRING,                                                                                            \
       FILE_(time_format),                                                                                             \
       "",                                                                                                             \
       0,                                                                                                              \
       0,                                                                                                              \
       NULL,                                                                                                           \
       "Format of a time in text, as of strptime (\"%Y-%m-%d %H:%M:%S\", UTC unless it has %z); empty: a number."},    \
      {"time_from",                                                                                                    \
       FACET_OPTION_INT,                                                                                               \
       FILE_(time_from),                                                                                               \
       "0",                                                                                                            \
       0,                                                                                                              \
       9e15,                                                                                                           \
       NULL,                                                                                                           \
       "Rows before this time, in seconds since 1970, are dropped and counted."},                                      \
  {                                                                                                                    \
    "time_until", FACET_OPTION_INT, FILE_(time_until), "9000000000000000", 0, 9e15, NULL,                              \
        "Rows at or after this time are, too."                                                                         \
  }

static const facet_option interactions_table[] = {
    {"file", FACET_OPTION_STRING, FILE_(file), NULL, 0, 0, NULL, "File name, relative to --input."},
    FORMAT_OPTIONS,
    {"user", FACET_OPTION_STRING, FILE_(user), NULL, 0, 0, NULL, "Column of the user."},
    {"item", FACET_OPTION_STRING, FILE_(item), NULL, 0, 0, NULL, "Column of the item."},
    TIME_OPTIONS,
    {"rating", FACET_OPTION_STRING, FILE_(rating), "", 0, 0, NULL, "Column of a rating; empty: every row is positive."},
    {"rating_at_least", FACET_OPTION_DOUBLE, FILE_(rating_at_least), "0", -1e9, 1e9, NULL,
     "Rows with a smaller rating are not positive: dropped, but never drawn as negatives."},
    {"kind", FACET_OPTION_STRING, FILE_(kind), "", 0, 0, NULL,
     "Column of the kind of interaction (\"buy\"); empty: all are of one kind."},
    {"event_kinds", FACET_OPTION_STRING, FILE_(event_kinds), "", 0, 0, NULL,
     "Kinds that are positive, separated by commas; empty: all. Others are dropped, but never drawn as negatives."},
    {"sample_kinds", FACET_OPTION_STRING, FILE_(sample_kinds), "", 0, 0, NULL,
     "Those of event_kinds that become samples; empty: all. The others are history only."},
    {0}};

static const facet_option impressions_table[] = {
    {"file", FACET_OPTION_STRING, FILE_(file), NULL, 0, 0, NULL,
     "File name, relative to --input: the training split, or everything where valid_file and test_file are empty."},
    {"valid_file", FACET_OPTION_STRING, IMPRESSIONS(valid_file), "", 0, 0, NULL,
     "File of the validation split. With it or test_file the files are the splits, instead of convert.split."},
    {"test_file", FACET_OPTION_STRING, IMPRESSIONS(test_file), "", 0, 0, NULL, "File of the test split."},
    FORMAT_OPTIONS,
    {"user", FACET_OPTION_STRING, FILE_(user), NULL, 0, 0, NULL, "Column of the user."},
    TIME_OPTIONS,
    {"impression", FACET_OPTION_STRING, IMPRESSIONS(impression), "", 0, 0, NULL,
     "Column of the impression's id, an integer; empty: the number of the row, from 0."},
    {"group", FACET_OPTION_CHOICE, IMPRESSIONS(group), "impression", 0, 0, group_choices,
     "What GAUC averages over: feature `impression` has role group, or there is none and users are the groups."},
    {"shown", FACET_OPTION_STRING, IMPRESSIONS(shown), NULL, 0, 0, NULL,
     "Column of the list of items that were shown."},
    {"list_separator", FACET_OPTION_STRING, IMPRESSIONS(list_separator), "space", 0, 0, NULL,
     "Separates the items of a list: tab, comma, semicolon, space, or the characters themselves."},
    {"label_separator", FACET_OPTION_STRING, IMPRESSIONS(label_separator), "-", 0, 0, NULL,
     "Stands between a shown item and its label 0 or 1, where `clicked` is empty."},
    {"clicked", FACET_OPTION_STRING, IMPRESSIONS(clicked), "", 0, 0, NULL,
     "Column of the list of items that were clicked; then `shown` holds items without labels."},
    {0}};

static const facet_option history_table[] = {
    {"file", FACET_OPTION_STRING, FILE_(file), "", 0, 0, NULL,
     "File of the histories, one row per user; empty: the lists are columns of the impressions' rows."},
    {"valid_file", FACET_OPTION_STRING, HISTORY(valid_file), "", 0, 0, NULL,
     "Histories at the time of the validation split's file; empty: those of `file`."},
    {"test_file", FACET_OPTION_STRING, HISTORY(test_file), "", 0, 0, NULL,
     "Histories at the time of the test split's file; empty: those of `file`."},
    FORMAT_OPTIONS,
    {"key", FACET_OPTION_STRING, FILE_(key), "", 0, 0, NULL,
     "Column of the user in the file of histories; of several rows the first counts."},
    {"items", FACET_OPTION_STRING, HISTORY(items), NULL, 0, 0, NULL, "Column of the list of items, the oldest first."},
    {"time", FACET_OPTION_STRING, FILE_(time), "", 0, 0, NULL,
     "Column of the list of their times, as impressions.time is written; a window then ends before its impression."},
    {"list_separator", FACET_OPTION_STRING, HISTORY(list_separator), "space", 0, 0, NULL,
     "Separates the values of a list: tab, comma, semicolon, space, or the characters themselves."},
    {0}};

static const facet_option entity_table[] = {
    {"file", FACET_OPTION_STRING, FILE_(file), NULL, 0, 0, NULL, "File name, relative to --input."},
    FORMAT_OPTIONS,
    {"key", FACET_OPTION_STRING, FILE_(key), NULL, 0, 0, NULL,
     "Column of the user or item; of several rows the first counts."},
    {0}};

static const facet_option attribute_table[] = {
    {"column", FACET_OPTION_STRING, ATTRIBUTE(column), "", 0, 0, NULL,
     "Column in the file; empty: the feature's name."},
    {"type", FACET_OPTION_CHOICE, ATTRIBUTE(type), "id", 0, 0, type_choices,
     "id: a token of a vocabulary; float: a number."},
    {"separator", FACET_OPTION_STRING, ATTRIBUTE(separator), "", 0, 0, NULL,
     "users, items: separates several values in the field: comma, space, … or the characters; empty: one value."},
    {"bag", FACET_OPTION_INT, ATTRIBUTE(bag), "8", 1, 10000, NULL, "Most values kept of several."},
    {"vocabulary", FACET_OPTION_STRING, ATTRIBUTE(vocabulary), "", 0, 0, NULL,
     "Vocabulary; empty: the feature's name."},
    {"width", FACET_OPTION_INT, ATTRIBUTE(width), "0", 0, 4096, NULL, "Embedding width; 0: convert.embedding_width."},
    {"missing", FACET_OPTION_STRING, ATTRIBUTE(missing), "", 0, 0, NULL,
     "float: value of an empty field, and of a user or item without a row; without it these are errors."},
    {0}};

enum {
  SECTION_CONVERT,
  SECTION_INTERACTIONS,
  SECTION_IMPRESSIONS,
  SECTION_HISTORY,
  SECTION_ENTITY,
  SECTION_ATTRIBUTE,
  N_SECTIONS
};
const int facet_convert_n_sections = N_SECTIONS;
const facet_option_section facet_convert_sections[N_SECTIONS] = {
    {"convert", "The data set that is made.", convert_table, sizeof(convert_options)},
    {"interactions", "A log of interactions. Either this section or `impressions`.", interactions_table,
     sizeof(convert_file)},
    {"impressions", "A log of impressions: what was shown, and what of it was clicked.", impressions_table,
     sizeof(convert_impressions)},
    {"history", "The users' histories, with `impressions`.", history_table, sizeof(convert_history)},
    {"users, items", "Attributes of users and of items (optional).", entity_table, sizeof(convert_file)},
    {"columns.<feature>",
     "One entry per feature under `columns` of users or items (attributes), of impressions (context of "
     "every item shown), of interactions or history (fields of events; in history lists beside the items).",
     attribute_table, sizeof(convert_attribute)}};

static facet_status read_section(facet_yaml_node root, int section, const char *name, const char *const *extra,
                                 void *values) {
  facet_option_section named = facet_convert_sections[section];
  named.name = name;
  const facet_yaml_node node = facet_yaml_get(root, name);
  char where[FACET_PATH_MAX];
  FACET_TRY(facet_options_default(&named, values));
  FACET_TRY(facet_options_read(&named, node, extra, values));
  return facet_options_check(&named, facet_yaml_where(node.id ? node : root, where, sizeof where), values);
}

static facet_status read_attribute(facet_yaml_node columns, int64_t i, convert_attribute *attribute) {
  static const char *const reserved[] = {"label", "weight",  "time", "user_id", "item_id",
                                         "hour",  "weekday", "user", "item",    "impression"};
  const size_t n_reserved = sizeof reserved / sizeof *reserved;
  const facet_option_section *section = &facet_convert_sections[SECTION_ATTRIBUTE];
  const char *name = facet_yaml_key(columns, i);
  FACET_TRY(facet_options_default(section, attribute));
  FACET_TRY(facet_options_read(section, facet_yaml_value(columns, i), NULL, attribute));
  FACET_TRY(facet_schema_check_name(facet_yaml_key_node(columns, i), name));
  for (size_t r = 0; r < n_reserved; r++)
    if (strcmp(name, reserved[r]) == 0)
      return facet_yaml_fail(facet_yaml_key_node(columns, i),
                             "feature name \"%s\" is taken; choose another and set `column`", name);
  snprintf(attribute->name, sizeof attribute->name, "%s", name);
  if (!attribute->column[0]) snprintf(attribute->column, sizeof attribute->column, "%s", name);
  if (!attribute->vocabulary[0]) snprintf(attribute->vocabulary, sizeof attribute->vocabulary, "%s", name);
  const facet_yaml_node vocabulary = facet_yaml_get(facet_yaml_value(columns, i), "vocabulary");
  if (vocabulary.id) FACET_TRY(facet_schema_check_name(vocabulary, attribute->vocabulary));
  for (size_t r = 0; r < n_reserved; r++)
    if (strcmp(attribute->vocabulary, reserved[r]) == 0)
      return facet_yaml_fail(vocabulary, "vocabulary name \"%s\" is taken; choose another", reserved[r]);
  if (attribute->type == CONVERT_ATTRIBUTE_FLOAT && attribute->separator[0])
    return facet_yaml_fail(facet_yaml_key_node(columns, i), "\"%s\" is a float: it cannot have several values", name);
  return FACET_OK;
}

static facet_status read_entity(facet_yaml_node root, const char *section, convert_entity *entity) {
  static const char *const extra[] = {"columns", NULL};
  const facet_yaml_node node = facet_yaml_get(root, section), columns = facet_yaml_get(node, "columns");
  entity->has_file = node.id != 0;
  if (!entity->has_file) return FACET_OK;
  FACET_TRY(read_section(root, SECTION_ENTITY, section, extra, &entity->file));
  FACET_TRY(facet_yaml_expect(columns, FACET_YAML_MAPPING, "`columns` (attributes by feature name)"));
  const int64_t n = facet_yaml_n_items(columns);
  if (n > CONVERT_MAX_ATTRIBUTES)
    return facet_yaml_fail(columns, "%lld columns, expected at most %d", (long long)n, CONVERT_MAX_ATTRIBUTES);
  for (int64_t i = 0; i < n; i++) FACET_TRY(read_attribute(columns, i, &entity->attributes[entity->n_attributes++]));
  return FACET_OK;
}

/* `columns` of the log itself, if there are any: one value each. */
static facet_status read_fields(facet_yaml_node section, convert_fields *fields) {
  const facet_yaml_node columns = facet_yaml_get(section, "columns");
  if (!columns.id) return FACET_OK;
  FACET_TRY(facet_yaml_expect(columns, FACET_YAML_MAPPING, "`columns` (features by name)"));
  const int64_t n = facet_yaml_n_items(columns);
  if (n > CONVERT_MAX_ATTRIBUTES)
    return facet_yaml_fail(columns, "%lld columns, expected at most %d", (long long)n, CONVERT_MAX_ATTRIBUTES);
  for (int64_t i = 0; i < n; i++) {
    convert_attribute *attribute = &fields->attributes[fields->n];
    FACET_TRY(read_attribute(columns, i, attribute));
    if (attribute->separator[0])
      return facet_yaml_fail(facet_yaml_key_node(columns, i),
                             "\"%s\" has a separator; only attributes of users and items can have several values",
                             attribute->name);
    fields->field[fields->n++] = (convert_field){.attribute = attribute, .feature = -1};
  }
  return FACET_OK;
}

static facet_status read_interactions(conversion *self, facet_yaml_node root) {
  static const char *const extra[] = {"columns", NULL};
  const convert_file *file = &self->interactions;
  const facet_yaml_node node = facet_yaml_get(root, "interactions");
  FACET_TRY(read_section(root, SECTION_INTERACTIONS, "interactions", extra, &self->interactions));
  FACET_TRY(read_fields(node, &self->event_fields));
  if (!file->kind[0] && (file->event_kinds[0] || file->sample_kinds[0]))
    return facet_yaml_fail(node, "event_kinds and sample_kinds need `kind`, the column of the kind");
  delimited_field name;
  for (const char *rest = file->sample_kinds; file->event_kinds[0] && convert_next_name(&rest, &name);)
    if (!convert_is_listed(file->event_kinds, &name))
      return facet_yaml_fail(node, "sample_kinds has \"%.*s\", which event_kinds lacks", (int)name.n_bytes, name.text);
  return FACET_OK;
}

static facet_status read_impressions(conversion *self, facet_yaml_node root) {
  static const char *const extra[] = {"columns", NULL};
  convert_history *history = &self->history;
  const convert_impressions *impressions = &self->impressions;
  const facet_yaml_node node = facet_yaml_get(root, "impressions"), lists = facet_yaml_get(root, "history");
  FACET_TRY(read_section(root, SECTION_IMPRESSIONS, "impressions", extra, &self->impressions));
  FACET_TRY(read_section(root, SECTION_HISTORY, "history", extra, history));
  FACET_TRY(read_fields(node, &self->context));
  FACET_TRY(read_fields(lists, &self->event_fields));
  history->log.time_unit = impressions->log.time_unit;
  memcpy(history->log.time_format, impressions->log.time_format, sizeof history->log.time_format);
  if (!impressions->list_separator[0] || !history->list_separator[0])
    return facet_yaml_fail(node, "list_separator of impressions or history is empty, expected at least one character");
  if (!impressions->clicked[0] && !impressions->label_separator[0])
    return facet_yaml_fail(node, "label_separator is empty, and `clicked` names no column: expected one of them");
  if ((history->log.file[0] != 0) != (history->log.key[0] != 0))
    return facet_yaml_fail(lists, "`file` and `key` (the column of the user in it) go together");
  if (!history->log.file[0] && (history->valid_file[0] || history->test_file[0]))
    return facet_yaml_fail(lists, "valid_file and test_file need `file`");
  if ((history->valid_file[0] && !impressions->valid_file[0]) || (history->test_file[0] && !impressions->test_file[0]))
    return facet_yaml_fail(lists, "valid_file and test_file need those of section impressions");
  return FACET_OK;
}

/* Lists the vocabularies of attributes, each once. */
static void name_vocabularies(conversion *self, const convert_attribute *attributes, int n) {
  for (int a = 0; a < n; a++) {
    const convert_attribute *attribute = &attributes[a];
    int v = 0;
    while (v < self->n_vocabularies && strcmp(self->vocabularies[v].name, attribute->vocabulary) != 0) v++;
    if (attribute->type == CONVERT_ATTRIBUTE_FLOAT || v < self->n_vocabularies) continue;
    const size_t n_bytes = strnlen(attribute->vocabulary, CONVERT_MAX_NAME - 1);
    memcpy(self->vocabularies[v].name, attribute->vocabulary, n_bytes); /* zeroed before */
    self->n_vocabularies++;
  }
}

typedef struct named_attributes {
  const char *section;
  const convert_attribute *attributes;
  int n;
} named_attributes;

static facet_status check_different(const char *path, named_attributes a, named_attributes b) {
  for (int i = 0; i < a.n; i++)
    for (int j = 0; j < b.n; j++)
      FACET_CHECK(strcmp(a.attributes[i].name, b.attributes[j].name) != 0, FACET_ERROR_USAGE,
                  "%s: feature \"%s\" is in %s and in %s; rename one and set its `column`", path, a.attributes[i].name,
                  a.section, b.section);
  return FACET_OK;
}

/* What the sections must agree on. */
static facet_status check_document(const conversion *self, const char *path) {
  const convert_entity *user = &self->entities[CONVERT_USER], *item = &self->entities[CONVERT_ITEM];
  const named_attributes users = {"users", user->attributes, user->n_attributes},
                         items = {"items", item->attributes, item->n_attributes},
                         context = {"impressions", self->context.attributes, self->context.n},
                         events = {self->has_impressions ? "history" : "interactions", self->event_fields.attributes,
                                   self->event_fields.n};
  FACET_TRY(check_different(path, users, items));
  FACET_TRY(check_different(path, context, users));
  FACET_TRY(check_different(path, context, items));
  FACET_TRY(check_different(path, events, items));
  FACET_CHECK(self->options.valid_fraction + self->options.test_fraction < 1, FACET_ERROR_USAGE,
              "%s: valid_fraction %g and test_fraction %g leave nothing to train on", path,
              self->options.valid_fraction, self->options.test_fraction);
  return convert_check_schema(self);
}

/* Options of section convert that say nothing about impressions; the last one where files are the splits. */
static facet_status check_unused(const conversion *self, const char *key, const char *where) {
  static const char *const unused[] = {"negatives", "popularity", "min_user_events", "seed"};
  const bool has_files = self->impressions.valid_file[0] || self->impressions.test_file[0];
  for (size_t i = 0; i < sizeof unused / sizeof *unused; i++)
    FACET_CHECK(strcmp(key, unused[i]) != 0, FACET_ERROR_USAGE,
                "%s: convert.%s is for logs of interactions; with `impressions` every item shown is a sample", where,
                key);
  FACET_CHECK(!has_files || (strcmp(key, "split") != 0 && strcmp(key, "valid_fraction") != 0 &&
                             strcmp(key, "test_fraction") != 0),
              FACET_ERROR_USAGE, "%s: convert.%s has no effect: impressions.valid_file and test_file are the splits",
              where, key);
  return FACET_OK;
}

static facet_status check_used(const conversion *self, facet_yaml_node convert) {
  char where[FACET_PATH_MAX];
  for (int64_t i = 0; i < facet_yaml_n_items(convert); i++)
    FACET_TRY(check_unused(self, facet_yaml_key(convert, i),
                           facet_yaml_where(facet_yaml_key_node(convert, i), where, sizeof where)));
  return FACET_OK;
}

static facet_status apply_sets(conversion *self) {
  const facet_option_section *section = &facet_convert_sections[SECTION_CONVERT];
  for (int i = 0; i < self->request->n_sets; i++) {
    char key[FACET_OPTION_MAX_KEY];
    FACET_TRY(facet_options_set_argument(section, self->request->sets[i], key, &self->options));
    if (self->has_impressions) FACET_TRY(check_unused(self, key, "--set"));
  }
  return FACET_OK;
}

static facet_status read_document(conversion *self, const facet_yaml *document) {
  static const char *const sections[] = {"convert", "interactions", "impressions", "history", "users", "items"};
  const facet_yaml_node root = facet_yaml_root(document);
  const facet_yaml_node impressions = facet_yaml_get(root, "impressions"), history = facet_yaml_get(root, "history");
  FACET_TRY(facet_yaml_check_keys(root, sections, 6));
  FACET_TRY(read_section(root, SECTION_CONVERT, "convert", NULL, &self->options));
  self->has_impressions = impressions.id != 0;
  if (self->has_impressions && facet_yaml_get(root, "interactions").id)
    return facet_yaml_fail(impressions, "sections interactions and impressions: expected one of them");
  if (!self->has_impressions && history.id)
    return facet_yaml_fail(history,
                           "section history goes with section impressions; interactions are their own history");
  if (self->has_impressions) {
    FACET_TRY(read_impressions(self, root));
    FACET_TRY(check_used(self, facet_yaml_get(root, "convert")));
  } else {
    FACET_TRY(read_interactions(self, root));
  }
  for (int e = 0; e < CONVERT_N_ENTITIES; e++) {
    convert_entity *entity = &self->entities[e];
    FACET_TRY(read_entity(root, e == CONVERT_USER ? "users" : "items", entity));
    name_vocabularies(self, entity->attributes, entity->n_attributes);
  }
  name_vocabularies(self, self->context.attributes, self->context.n);
  name_vocabularies(self, self->event_fields.attributes, self->event_fields.n);
  FACET_TRY(apply_sets(self));
  return check_document(self, self->request->config);
}

facet_status convert_read_config(conversion *self) {
  facet_yaml *document;
  char path[FACET_PATH_MAX];
  FACET_TRY(facet_path_format(path, "%s", self->request->config));
  FACET_TRY(facet_path_format(self->config_directory, "%s", dirname(path)));
  FACET_TRY(facet_path_format(self->input, "%s", self->request->input ? self->request->input : self->config_directory));
  FACET_TRY(facet_yaml_load(self->request->config, FACET_ERROR_USAGE, &document));
  facet_status status = read_document(self, document);
  facet_yaml_destroy(&document);
  return status;
}
