/* The schema of a conversion. */
#include "base/text.h"
#include "data/convert_internal.h"

int32_t convert_hour_id(int64_t time) {
  return FACET_ID_FIRST + (int32_t)(time / 3600 % CONVERT_N_HOURS);
}

int32_t convert_weekday_id(int64_t time) { /* 1970-01-01 was a Thursday; 0 is Monday */
  return FACET_ID_FIRST + (int32_t)((time / 86400 + 3) % CONVERT_N_WEEKDAYS);
}

static int64_t vocabulary_size(const facet_vocabulary *vocabulary) {
  return vocabulary ? facet_vocabulary_size(vocabulary) : FACET_ID_FIRST;
}

/* `join`: the id feature through which a table's attribute is read; NULL for a column of the log itself. */
static void print_attribute(FILE *text, const char *indent, const char *role, const char *join,
                            const convert_attribute *attribute) {
  fprintf(text, "%s%s: {", indent, attribute->name);
  if (role) fprintf(text, "role: %s, ", role);
  if (attribute->type == CONVERT_ATTRIBUTE_FLOAT)
    fprintf(text, "type: float");
  else
    fprintf(text, "vocabulary: %s", attribute->vocabulary);
  if (join) fprintf(text, ", join: %s", join);
  if (attribute->separator[0]) fprintf(text, ", bag: %lld", (long long)attribute->bag);
  if (attribute->width > 0) fprintf(text, ", width: %lld", (long long)attribute->width);
  fputs("}\n", text);
}

static void print_attributes(FILE *text, const char *indent, const char *role, const convert_entity *entity) {
  for (int i = 0; i < entity->n_attributes; i++)
    print_attribute(text, indent, role, entity->id_feature, &entity->attributes[i]);
}

static void print_fields(FILE *text, const char *indent, const char *role, const convert_fields *fields) {
  for (int i = 0; i < fields->n; i++) print_attribute(text, indent, role, NULL, fields->field[i].attribute);
}

static void print_schema(const void *context, FILE *text) {
  const conversion *self = context;
  const convert_options *o = &self->options;
  const convert_entity *users = &self->entities[CONVERT_USER], *items = &self->entities[CONVERT_ITEM];
  char name[FACET_OPTION_MAX_YAML];
  fprintf(text, "facet_schema: 1\nname: %s\nembedding_width: %lld\nvocabularies:\n",
          facet_text_quote(o->name, name, sizeof name), (long long)o->embedding_width);
  fprintf(text, "  user: {size: %lld}\n  item: {size: %lld}\n", (long long)vocabulary_size(users->final),
          (long long)vocabulary_size(items->final));
  for (int i = 0; i < self->n_vocabularies; i++)
    fprintf(text, "  %s: {size: %lld}\n", self->vocabularies[i].name,
            (long long)vocabulary_size(self->vocabularies[i].vocabulary));
  if (o->hour) fprintf(text, "  hour: {size: %d}\n", CONVERT_N_HOURS + FACET_ID_FIRST);
  if (o->weekday) fprintf(text, "  weekday: {size: %d}\n", CONVERT_N_WEEKDAYS + FACET_ID_FIRST);
  fputs("features:\n  label: {role: label}\n  time: {role: time}\n", text);
  if (self->has_impressions && self->impressions.group == CONVERT_GROUP_IMPRESSION)
    fputs("  impression: {role: group}\n", text);
  fputs("  user_id: {role: user, vocabulary: user}\n", text);
  print_attributes(text, "  ", "user", users);
  fputs("  item_id: {role: item, vocabulary: item}\n", text);
  print_attributes(text, "  ", "item", items);
  print_fields(text, "  ", "context", &self->context);
  if (o->hour) fputs("  hour: {role: context, vocabulary: hour}\n", text);
  if (o->weekday) fputs("  weekday: {role: context, vocabulary: weekday}\n", text);
  fprintf(text, "sequences:\n  history:\n    max_length: %lld\n    features:\n      item_id: {vocabulary: item}\n",
          (long long)o->max_length);
  print_attributes(text, "      ", NULL, items);
  print_fields(text, "      ", NULL, &self->event_fields);
  if (!self->has_impressions || self->history.log.time[0]) fputs("      time: {role: time}\n", text);
}

facet_status convert_check_schema(const conversion *self) {
  facet_schema *schema;
  const facet_status status = facet_schema_make("schema of the conversion", print_schema, self, &schema);
  facet_schema_destroy(&schema);
  if (status != FACET_ERROR_DATA) return status;
  const facet_error error = *facet_error_get();
  FACET_FAIL(FACET_ERROR_USAGE, "%s: %s", self->request->config, error.message);
}

static void find_fields(const conversion *self, const char *scope, convert_fields *fields) {
  for (int i = 0; i < fields->n; i++) {
    char name[2 * CONVERT_MAX_NAME];
    snprintf(name, sizeof name, "%s%s", scope, fields->field[i].attribute->name);
    fields->field[i].feature = facet_schema_feature(self->schema, name);
  }
}

facet_status convert_make_schema(conversion *self) {
  char path[FACET_PATH_MAX];
  FACET_TRY(facet_schema_make("schema of the conversion", print_schema, self, &self->schema));
  find_fields(self, "", &self->context);
  find_fields(self, "history.", &self->event_fields);
  FACET_TRY(facet_path_format(path, "%s/schema.yaml", self->directory));
  return facet_schema_write(self->schema, path);
}
