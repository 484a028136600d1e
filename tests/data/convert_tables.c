/* Conversion: formats of the files, attributes of users and items, and a later day with stored vocabularies. */
#include <stdio.h>

#include "convert_fixture.h"
#include "fixture.h"

TestSuite(convert_tables, .init = converter_create, .fini = converter_remove);

#define CONVERT_SECTION "convert: {name: test, negatives: 0, min_history: 0, min_user_events: 1}\n"

static void write_config(const char *sections) {
  char text[2048];
  snprintf(text, sizeof text, CONVERT_SECTION "%s", sections);
  converter_write("config.yaml", text);
}

/* ---- formats ------------------------------------------------------------------------------------------------- */

/* Four rows of users u1 and u2 with items `x,1` and `y "2"`, in the format of the interactions section. */
static const struct {
  const char *interactions, *log;
} formats[] = {
    {"{file: log, user: user, item: item, time: time}",
     "user\titem\ttime\nu1\tx,1\t1\nu2\ty \"2\"\t2\nu1\ty \"2\"\t3\nu2\tx,1\t4\n"},
    {"{file: log, user: user, item: item, time: time}", /* other line ends, blank lines, a byte order mark */
     "\xef\xbb\xbfuser\titem\ttime\r\nu1\tx,1\t1\r\nu2\ty \"2\"\t2\r\n\r\nu1\ty \"2\"\t3\r\nu2\tx,1\t4"},
    {"{file: log, separator: comma, quoted: true, user: user, item: item, time: time}",
     "user,item,time\nu1,\"x,1\",1\n\"u2\",\"y \"\"2\"\"\",\"2\"\nu1,\"y \"\"2\"\"\",3\nu2,\"x,1\",4\n"},
    {"{file: log, separator: \"::\", header: false, user: \"1\", item: \"2\", time: \"3\"}",
     "u1::x,1::1\nu2::y \"2\"::2\nu1::y \"2\"::3\nu2::x,1::4\n"},
    {"{file: log, separator: semicolon, user: who, item: what, time: when}", /* other columns, other order */
     "when;note;what;who\n1;;x,1;u1\n2.9;n;y \"2\";u2\n3;n;y \"2\";u1\n4;;x,1;u2\n"},
};

Test(convert_tables, the_same_log_in_other_formats_gives_the_same_bytes) {
  for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
    char text[1024], name[16];
    snprintf(text, sizeof text, "interactions: %s\n", formats[i].interactions);
    write_config(text);
    converter_write("log", formats[i].log);
    snprintf(name, sizeof name, "out%d", (int)i);
    EXPECT_OK(converter_run(name, ""));
    converter_expect_same_bytes("out0", name);
  }
  converter_expect(converter_samples("out0", "train"), "u1 x,1=1 @1:\nu1 y \"2\"=1 @3: x,1@1\n"
                                                       "u2 y \"2\"=1 @2:\nu2 x,1=1 @4: y \"2\"@2\n");
}

/* ---- attributes ---------------------------------------------------------------------------------------------- */

Test(convert_tables, attributes_are_joined) {
  write_config(CONVERTER_LOG "users: {file: users.csv, separator: comma, quoted: true, key: id,\n"
                             "        columns: {age: {column: \"Age, years\"}}}\n"
                             "items:\n"
                             "  file: items.tsv\n"
                             "  key: id\n"
                             "  columns:\n"
                             "    category: {width: 4}\n"
                             "    second: {column: cat2, vocabulary: category, width: 4}\n"
                             "    genres: {separator: \"|\", bag: 2}\n"
                             "    price: {type: float, missing: -1}\n");
  converter_write("log.tsv", "user\titem\ttime\nu1\ta\t1\nu1\tb\t2\nu2\tc\t3\n");
  converter_write("users.csv", "id,\"Age, years\"\nu2,34\nu1,\"17\"\n");
  converter_write("items.tsv", "id\tcategory\tcat2\tgenres\tprice\n"
                               "a\tbooks\tart\tx|y|z\t1.5\n"
                               "b\t\tbooks\t|\t\n"     /* nothing but a second category */
                               "d\tmusic\tart\tw\t3\n" /* not in the log */
                               "a\ttoys\ttoys\tw\t9\n" /* a second row */);
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_column("out", "category"), "<unknown>=<unknown>\na=books\nb=<unknown>\nc=<unknown>\n");
  converter_expect(converter_column("out", "second"), "<unknown>=<unknown>\na=art\nb=books\nc=<unknown>\n");
  converter_expect(converter_column("out", "genres"), "<unknown>=\na=x,y\nb=\nc=\n");
  converter_expect(converter_column("out", "price"), "<unknown>=-1\na=1.5\nb=-1\nc=-1\n");
  converter_expect(converter_column("out", "age"), "<unknown>=<unknown>\nu1=17\nu2=34\n");
  converter_expect(converter_column("out", "history.genres"), "<unknown>=\na=x,y\nb=\nc=\n");
  converter_expect(converter_tokens("out", "category"), "books art"); /* not those of rows that were left out */
  converter_expect(converter_tokens("out", "genres"), "x y");
  static const char *const lines[] = {"user attributes: 2 of 2 users have a row in users.csv; 0 rows of others, 0 rep",
                                      "item attributes: 2 of 3 items have a row in items.tsv; 1 rows of others, 1 rep",
                                      "item.genres: 1 values beyond the first 2 of their field were cut"};
  for (int i = 0; i < 3; i++) cr_assert(strstr(converter_report, lines[i]), "%s", converter_report);
}

Test(convert_tables, roles_and_widths_in_the_schema) {
  facet_schema *schema;
  write_config(CONVERTER_LOG "users: {file: log.tsv, key: user, columns: {city: {}}}\n"
                             "items: {file: log.tsv, key: item, columns: {brand: {width: 5}}}\n");
  converter_write("log.tsv", "user\titem\ttime\tcity\tbrand\nu1\ta\t1\tUlm\tacme\n");
  EXPECT_OK(converter_run("out", "embedding_width=12 max_length=7"));
  EXPECT_OK(facet_schema_load(converter_path("out/schema.yaml"), &schema));
  const facet_feature *city = &schema->features[facet_schema_feature(schema, "city")],
                      *brand = &schema->features[facet_schema_feature(schema, "brand")],
                      *event_brand = &schema->features[facet_schema_feature(schema, "history.brand")];
  cr_assert(city->role == FACET_ROLE_USER && city->width == 12 && city->join == schema->user);
  cr_assert(brand->role == FACET_ROLE_ITEM && brand->width == 5 && brand->join == schema->item);
  cr_assert(event_brand->role == FACET_ROLE_BEHAVIOUR && !strcmp(event_brand->embedding, brand->embedding));
  cr_assert(facet_schema_feature(schema, "history.city") < 0);
  cr_assert(schema->sequences[0].max_length == 7 && schema->time >= 0);
  facet_schema_destroy(&schema);
}

/* ---- a later day --------------------------------------------------------------------------------------------- */

static void convert_first_day(void) {
  write_config(CONVERTER_LOG "items: {file: items.tsv, key: item, columns: {kind: {}}}\n");
  converter_write("log.tsv", "user\titem\ttime\nu1\ta\t1\nu1\tb\t2\nu2\tc\t3\n");
  converter_write("items.tsv", "item\tkind\na\tx\nb\ty\nc\tx\n");
  EXPECT_OK(converter_run("first", ""));
  converter_expect(converter_tokens("first", "item"), "a b c");
  converter_expect(converter_tokens("first", "kind"), "x y");
  converter_write("log.tsv", "user\titem\ttime\nu3\tc\t11\nu3\td\t12\nu2\te\t13\nu2\ta\t14\n");
  converter_write("items.tsv", "item\tkind\na\tx\nb\ty\nc\tw\nd\tz\n"); /* c has another kind, d is new, e has no row */
}

Test(convert_tables, a_later_day_extends_the_vocabularies) {
  convert_first_day();
  EXPECT_OK(converter_run_later("later", "", "first", 0));
  converter_expect(converter_tokens("later", "user"), "u1 u2 u3");
  converter_expect(converter_tokens("later", "item"), "a b c d e");
  converter_expect(converter_tokens("later", "kind"), "x y w z");
  converter_expect(converter_column("later", "kind"), "<unknown>=<unknown>\na=x\nb=y\nc=w\nd=z\ne=<unknown>\n");
  converter_expect(converter_samples("later", "train"), "u3 c=1 @11:\nu3 d=1 @12: c@11\n"
                                                        "u2 e=1 @13:\nu2 a=1 @14: e@13\n");
  facet_schema *first, *later;
  EXPECT_OK(facet_schema_load(converter_path("first/schema.yaml"), &first));
  EXPECT_OK(facet_schema_load(converter_path("later/schema.yaml"), &later));
  cr_assert(first->hash == later->hash); /* sizes of vocabularies do not count: the model can be trained on */
  facet_schema_destroy(&first);
  facet_schema_destroy(&later);
}

Test(convert_tables, frozen_vocabularies_stay) {
  convert_first_day();
  EXPECT_OK(converter_run_later("later", "", "first", 1));
  converter_expect(converter_tokens("later", "user"), "u1 u2");
  converter_expect(converter_tokens("later", "item"), "a b c");
  converter_expect(converter_tokens("later", "kind"), "x y");
  converter_expect(converter_column("later", "kind"), "<unknown>=<unknown>\na=x\nb=y\nc=<unknown>\n");
  converter_expect(converter_samples("later", "train"), "<unknown> c=1 @11:\n<unknown> <unknown>=1 @12: c@11\n"
                                                        "u2 <unknown>=1 @13:\nu2 a=1 @14: <unknown>@13\n");
  cr_assert(strstr(converter_report, "item.kind: 1 values are not in the earlier vocabulary and become unknown"), "%s",
            converter_report);
  cr_assert(strstr(converter_report, "2 samples have an unknown user and 2 an unknown item"), "%s", converter_report);
}

Test(convert_tables, negatives_of_a_later_day_are_its_training_items) {
  convert_first_day();
  /* a and b have ids of the first day, but stand only in validation and test of this one. */
  converter_write("log.tsv", "user\titem\ttime\nu3\tc\t11\nu3\td\t12\nu3\ta\t13\nu3\tb\t14\nu2\te\t15\n");
  EXPECT_OK(converter_run_later("later", "negatives=30", "first", 0));
  char *samples = converter_samples("later", "train");
  cr_assert(strstr(samples, "u2 c=0") && strstr(samples, "u2 d=0"), "%s", samples);
  cr_assert(!strstr(samples, " a=0") && !strstr(samples, " b=0"), "%s", samples);
  free(samples);
}

Test(convert_tables, an_earlier_data_set_that_cannot_serve) {
  convert_first_day();
  EXPECT_ERROR(FACET_ERROR_USAGE, converter_run_later("later", "", "frist", 0), "frist/vocab/user.h5 does not exist",
               "--vocabulary needs the directory of a data set");
  EXPECT_OK(facet_directory_create(converter_path("first/vocab")));
  cr_assert(unlink(converter_path("first/vocab/kind.h5")) == 0);
  EXPECT_ERROR(FACET_ERROR_USAGE, converter_run_later("later", "", "first", 1), "first/vocab/kind.h5 does not exist",
               "--freeze");
  EXPECT_OK(converter_run_later("later", "", "first", 0)); /* a new attribute */
  cr_assert(rename(converter_path("first/vocab/user.h5"), converter_path("first/vocab/item.h5")) == 0);
  EXPECT_OK(facet_file_rename(converter_path("later/vocab/user.h5"), converter_path("first/vocab/user.h5")));
  EXPECT_ERROR(FACET_ERROR_DATA, converter_run_later("mixed", "", "first", 0),
               "first/vocab/item.h5 holds vocabulary user, expected item");
}
