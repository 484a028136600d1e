/* facet graph and facet check from the command line. */
#include "cli/tiny.h"

TestSuite(graph_check, .init = tiny_create, .fini = tiny_remove, .timeout = 120);

Test(graph_check, prints_the_graph) {
  const char *config = tiny_path("c.yaml");
  EXPECT_EXIT(0, program_shell("$FACET graph %s | tr -s ' '", config),
              "program train, 64 samples", /* columns as wide as names */
              "embedding.item table [82, 8]", "history.item_id input [64, 20]", "\nhistory gather_fields [64, 20, 16]",
              "mlp.1 linear [64, 8]", "loss bce = 1 · bce", "output logit = logit");
  EXPECT_EXIT(0, program_run("graph %s --set train.accumulate=4", config), "program train, 16 samples");
  EXPECT_EXIT(0, program_run("graph %s --program serve", config), "program serve");
  cr_assert_null(strstr(program_output, "label"));
  EXPECT_EXIT(0, program_run("graph %s --plan", config), "activations");
}

/* What appears is the first line, and no message about the rest. */
Test(graph_check, a_reader_that_leaves) {
  static const char *const commands[] = {"graph", "graph --dot", "graph --plan", "check"};
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
    EXPECT_EXIT(0, program_shell("$FACET %s %s | head -n 1", commands[i], tiny_path("c.yaml")));
    cr_assert_eq(strchr(program_output, '\n') - program_output, (long)strlen(program_output) - 1, "%s", program_output);
  }
}

/* Every node is drawn, and every edge is between nodes that are. */
Test(graph_check, prints_dot) {
  EXPECT_EXIT(0, program_run("graph %s --dot", tiny_path("c.yaml")), "digraph", "mlp.0", "logit", "->", "}");
  int depth = 0, quotes = 0;
  for (const char *c = program_output; *c; c++) {
    if (*c == '"' && (c == program_output || c[-1] != '\\')) quotes++;
    if (quotes % 2 == 0) depth += (*c == '{') - (*c == '}');
    cr_assert(depth >= 0);
  }
  cr_assert(depth == 0 && quotes % 2 == 0);
}

Test(graph_check, needs_only_the_schema) {
  EXPECT_EXIT(0, program_shell("rm -r %s %s && $FACET graph %s", tiny_path("data/train"), tiny_path("data/tables.h5"),
                               tiny_path("c.yaml")));
  EXPECT_EXIT(4, program_run("graph %s --set data.path=/none", tiny_path("c.yaml")), "/none/schema.yaml");
  EXPECT_EXIT(2, program_run("graph %s --program sevre", tiny_path("c.yaml")),
              "expected one of train, evaluate, serve");
  EXPECT_EXIT(2, program_run("graph %s --dot --plan", tiny_path("c.yaml")), "exclude each other");
}

Test(graph_check, gradients_agree) {
  static const char *const sets[] = {"", "--set model.activation=tanh",
                                     "--set model.batch_norm=true --set model.dropout=0.3 --set model.activation=swish",
                                     "--set model.activation=prelu --set train.batch_size=1440",
                                     "--set model.activation=dice --batches 3 --directions 1"};
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
    EXPECT_EXIT(0, program_run("check %s %s", tiny_path("c.yaml"), sets[i]), "mlp.0.weight",
                "no gradient is off by more than 0.02");
    cr_assert_null(strstr(program_output, "WRONG"), "%s", program_output);
  }
}

/* In double precision a difference of a millionth shows. */
Test(graph_check, gradients_agree_in_double_precision) {
  EXPECT_EXIT(0, program_shell("%s check %s --batches 2", FACET_BINARY_DIR "/facet_f64", tiny_path("c.yaml")),
              "batch 1, 64 samples", "no gradient is off by more than 1e-06");
  EXPECT_EXIT(0,
              program_shell("%s check %s --set model.mlp=[256,128] --set train.batch_size=512",
                            FACET_BINARY_DIR "/facet_f64", tiny_path("c.yaml")),
              "no gradient is off by more than 1e-06");
}

/* With every embedding zero, all units stand on the kink of ReLU, where no derivative agrees with a difference. */
Test(graph_check, a_difference_beyond_the_tolerance_exits_1) {
  EXPECT_EXIT(1, program_run("check %s --set model.embedding_init=0", tiny_path("c.yaml")), "WRONG",
              "facet: error: the gradient of \"", "\" is wrong: relative error ", "tolerance 0.02");
}
