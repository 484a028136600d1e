/* Random graphs of the tiny operators, the same for the same seed. */
#ifndef TESTS_GRAPH_RANDOM_GRAPH_H
#define TESTS_GRAPH_RANDOM_GRAPH_H

#include "operators.h"

/* Builds inputs, parameters, a table, n_nodes random nodes and two losses. With keep_all every node is an output. */
void test_random_graph(facet_graph *graph, uint64_t seed, int n_nodes, bool keep_all);
/* Fills the inputs of a compiled random graph. */
void test_random_inputs(facet_executor *executor, uint64_t seed);

#endif
