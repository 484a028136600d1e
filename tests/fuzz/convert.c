/* A conversion: its configuration, the log, and the files of users, items, histories and the validation split, with 0
 * between them. What is converted is a
 * data set that every check accepts. */
#include "facet/convert.h"
#include "common/fuzz.h"
#include "facet/dataset.h"

enum { N_FILES = 6 };

static FILE *nowhere;

static void begin(void) {
  nowhere = fopen("/dev/null", "w");
}

static void end(void) {
  fclose(nowhere);
}

static void check_split(const char *directory, const char *split) {
  char path[FACET_PATH_MAX];
  facet_dataset *dataset;
  FUZZ_MUST(facet_path_format(path, "%s/%s", directory, split));
  if (!facet_directory_exists(path)) return;
  FUZZ_MUST(facet_dataset_open(directory, split, &dataset));
  for (int i = 0; i < facet_dataset_n_parts(dataset); i++)
    FUZZ_MUST(facet_shard_verify(facet_dataset_part(dataset, i)));
  facet_dataset_close(&dataset);
}

static void run(const uint8_t *data, size_t n_bytes) {
  static const char *const files[] = {"config.yaml", "log", "users", "items", "past", "valid"};
  static const char *const sets[] = {"memory_mb=1", "part_samples=5"};
  char output[FACET_PATH_MAX], config[FACET_PATH_MAX];
  fuzz_parts parts = fuzz_split(data, n_bytes, N_FILES);
  for (int i = 0; i < N_FILES; i++) fuzz_write(fuzz_path(files[i]), parts.part[i], parts.n_bytes[i]);
  fuzz_parts_free(&parts);
  FUZZ_MUST(facet_path_format(output, "%s", fuzz_path("out")));
  FUZZ_MUST(facet_path_format(config, "%s", fuzz_path(files[0])));
  const facet_convert_request request = {
      .config = config, .output = output, .sets = sets, .n_sets = 2, .report = nowhere};
  if (!fuzz_verdict(facet_convert(&request))) {
    FUZZ_CHECK(!facet_directory_exists(output), "half a data set is left");
    return;
  }
  check_split(output, "train");
  check_split(output, "valid");
  check_split(output, "test");
  FUZZ_MUST(facet_directory_remove(output));
}

static void seeds(fuzz_emit emit) {
#define SEED(name, text) emit(name, text, sizeof text - 1)
  SEED("small",
       "convert: {name: t, negatives: 1, min_history: 0, min_user_events: 1}\n"
       "interactions: {file: log, user: u, item: i, time: t}\n\0u\ti\tt\na\tx\t1\na\ty\t2\nb\tx\t3\nb\tz\t4\n");
  SEED("attributes",
       "convert: {name: t, split: time, valid_fraction: 0.2, test_fraction: 0.2, hour: true, weekday: true, "
       "popularity: 0.5, drop_bad_rows: true, min_user_events: 1}\n"
       "interactions: {file: log, separator: '::', header: false, user: 1, item: 2, time: 4, time_unit: 0.001, "
       "rating: 3, rating_at_least: 4}\n"
       "users: {file: users, separator: comma, key: id, quoted: true, columns: {zip: {}, age: {type: float, missing: "
       "'0'}}}\n"
       "items: {file: items, separator: '|', header: false, key: 1, columns: {kind: {column: 2, separator: space, bag: "
       "2}}}\n"
       "\0"
       "a::x::5::1000\na::y::4::2000\na::z::1::2500\nb::x::5::3000\nb::y::4.5::4000\nb::w::5::9000\n"
       "\0id,zip,age\n\"a\",\"1\"\"2\",3\nb,,\n\0x|k1 k2 k3\ny|k1\nz|\n");
  SEED("duplicates", "convert: {name: t, negatives: 0, keep_duplicates: true, compress: true, min_count: 2}\n"
                     "interactions: {file: log, user: u, item: i, time: t}\n"
                     "\0u\ti\tt\na\tx\t1\na\tx\t1\na\ty\t2\na\ty\t2\nb\tx\t-3\n");
  SEED("impressions",
       "convert: {name: t, min_history: 0, split: time, valid_fraction: 0.3, max_length: 2}\n"
       "impressions: {file: log, user: user, time: time, time_format: '%m/%d/%Y %I:%M:%S %p', shown: list, impression: "
       "id, "
       "columns: {device: {}, age: {type: float, missing: '1'}}}\nhistory: {items: past}\n"
       "items: {file: items, key: item, columns: {kind: {}}}\n"
       "\0id\tuser\ttime\tpast\tlist\tdevice\tage\n1\tu1\t11/15/2019 9:11:09 AM\ta b c\tx-0 y-1\tphone\t3\n"
       "7\tu2\t11/15/2019 9:12:09 PM\t\tx-1 x-0 z-0\t\t\n-3\tu1\t11/16/2019 1:00:00 AM\ta b c x\tz-1\ttv\t\n"
       "\0\0item\tkind\nx\told\nnew\tnew\n");
  SEED("histories",
       "convert: {name: t, hour: true, keep_duplicates: true}\n"
       "impressions: {file: log, valid_file: valid, separator: comma, quoted: true, user: 1, time: 2, header: false, "
       "time_unit: 0.001, shown: 3, clicked: 4, list_separator: '|', group: user}\n"
       "history: {file: past, key: who, items: what, time: when, list_separator: semicolon, columns: {way: {}, "
       "dwell: {type: float}}}\n"
       "\0u1,20000,x|y|x,y\nu2,10000,\"x|z\",\n\0\0\0who\twhat\twhen\tway\tdwell\nu1\ta;b;c\t3000;1000;2000\tw;v;w\t1;"
       "2;.5\n"
       "u1\ta\t1\tw\t1\nu2\ta\t9000\t\t0\n\0u2,30000,a|x,a\nu3,1,y,\n");
  SEED("kinds",
       "convert: {name: t, negatives: 1, min_history: 0, min_user_events: 1, split: time}\n"
       "interactions: {file: log, user: u, item: i, time: t, kind: k, event_kinds: 'pv, buy', sample_kinds: buy, "
       "time_from: 2, columns: {what: {column: k}, price: {type: float, missing: '0'}}}\n"
       "\0u\ti\tt\tk\tprice\na\tx\t1\tpv\t1\na\ty\t2\tbuy\t\nb\tx\t3\tpv\t.5\nb\tz\t4\tbuy\t2\nb\tx\t5\tfav\t2\n");
#undef SEED
}

const fuzz_target fuzz = {.max_bytes = 2048, .begin = begin, .run = run, .end = end, .seeds = seeds};
