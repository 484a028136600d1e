/* A training configuration and arguments of --set: CONFIG.yaml, then 0 and an argument each. What is accepted is written
 * as text that is read back to equal values. */
#include "facet/config.h"
#include "common/fuzz.h"

enum { MAX_SETS = 6 };

static void run(const uint8_t *data, size_t n_bytes) {
  facet_config *config, *again;
  const char *path = fuzz_path("config.yaml"), *written = fuzz_path("written.yaml");
  fuzz_parts parts = fuzz_split(data, n_bytes, MAX_SETS + 1);
  fuzz_write(path, parts.part[0], parts.n_bytes[0]);
  if (fuzz_verdict(facet_config_load(path, parts.part + 1, parts.n - 1, &config))) {
    FUZZ_MUST(facet_config_write(config, written));
    FUZZ_MUST(facet_config_load(written, NULL, 0, &again));
    FUZZ_CHECK(!facet_config_difference(config, again), "a key differs after writing and reading");
    facet_config_destroy(&again);
    facet_config_destroy(&config);
  }
  fuzz_parts_free(&parts);
}

static const char full[] =
    "model: {name: diffumin}\ndata: {path: data, order: chronological, max_length: 3}\n"
    "optimizer: {dense: adamw, sparse: lazy_adam, learning_rate: 1e-3, schedule: cosine, warmup_steps: 10}\n"
    "train:\n  batch_size: 64\n  accumulate: 2\n  epochs: 3\n  monitor: auc\n  warm_start: ''\n"
    "evaluate: {gauc_weight: none, negative_sampling_rate: 0.5}\n"
    "\0train.batch_size=128\0data.path=/tmp/x y\0optimizer.min_learning_rate=.inf";
static const char minimal[] = "model: {name: mean_pooling}\ndata: {path: d}\0model.mlp=[64, 32]";

static void seeds(fuzz_emit emit) {
  static const char *const presets[] = {"diffumin", "diffumin_official", "diffumin_paper", "mean_pooling"};
  for (int i = 0; i < 4; i++) {
    char path[FACET_PATH_MAX];
    size_t n_bytes;
    FUZZ_MUST(facet_path_format(path, FACET_SOURCE_DIR "/models/%s.yaml", presets[i]));
    char *text = fuzz_read(path, &n_bytes);
    emit(presets[i], text, n_bytes);
    facet_memory_free(text);
  }
  emit("full", full, sizeof full - 1);
  emit("minimal", minimal, sizeof minimal - 1);
}

const fuzz_target fuzz = {.run = run, .seeds = seeds};
