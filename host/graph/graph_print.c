/* A graph as a table and as Graphviz. */
#include <string.h>

#include "facet/log.h"
#include "graph/graph_internal.h"

static const char *const dtype_names[] = {"real", "int32"};

/* Elements of the dense parameters that a node reads. */
static int64_t node_parameters(const facet_node *node) {
  int64_t n = 0;
  for (int i = 0; i < node->n_inputs; i++)
    if (node->in[i]->kind == FACET_TENSOR_PARAMETER) n += facet_shape_elements(&node->in[i]->shape);
  return n;
}

/* Elements of the dense parameters of a program, each once. */
static int64_t program_parameters(const facet_graph *graph) {
  int64_t n = 0;
  for (int i = 0; i < graph->n_constants; i++)
    if (graph->constant[i]->kind == FACET_TENSOR_PARAMETER) n += facet_shape_elements(&graph->constant[i]->shape);
  return n;
}

static size_t node_bytes(const facet_node *node) {
  size_t bytes = 0;
  for (int i = 0; i < node->n_outputs; i++) bytes += facet_tensor_bytes(node->out[i]);
  return bytes;
}

typedef struct facet_widths {
  int name, op, shape;
} facet_widths;

static void widen(int *width, const char *text) {
  int n = (int)strlen(text);
  if (n > *width) *width = n;
}

static facet_widths find_widths(const facet_graph *graph) {
  facet_widths widths = {.name = 5, .op = 8, .shape = 5};
  char text[64];
  for (int i = 0; i < graph->n_slots; i++) widen(&widths.name, graph->slot[i].tensor->name);
  for (int i = 0; i < graph->n_constants; i++) {
    widen(&widths.name, graph->constant[i]->name);
    widen(&widths.shape, facet_shape_format(&graph->constant[i]->shape, text, sizeof text));
  }
  for (int64_t i = 0; i < graph->n_nodes; i++) {
    widen(&widths.name, graph->node[i]->name);
    widen(&widths.op, graph->node[i]->op->name);
    widen(&widths.shape, facet_shape_format(&graph->node[i]->out[0]->shape, text, sizeof text));
  }
  for (int i = 0; i < graph->n_slots; i++)
    widen(&widths.shape, facet_shape_format(&graph->slot[i].tensor->shape, text, sizeof text));
  return widths;
}

static void print_nodes(const facet_graph *graph, facet_widths w, FILE *stream) {
  char text[64];
  double flops = 0, megabytes = 0;
  fprintf(stream, "%-*s  %-*s  %-*s  %10s  %10s  %10s  %s\n", w.name, "node", w.op, "operator", w.shape, "shape",
          "parameters", "MFLOP", "MB", "inputs");
  for (int64_t i = 0; i < graph->n_nodes; i++) {
    const facet_node *node = graph->node[i];
    double node_flops = node->cost.forward_flops + node->cost.backward_flops;
    fprintf(stream, "%-*s  %-*s  %-*s  %10lld  %10.3f  %10.3f  ", w.name, node->name, w.op, node->op->name, w.shape,
            facet_shape_format(&node->out[0]->shape, text, sizeof text), (long long)node_parameters(node),
            node_flops / 1e6, (double)node_bytes(node) / 1e6);
    for (int k = 0; k < node->n_inputs; k++) fprintf(stream, "%s%s", k ? ", " : "", node->in[k]->name);
    fprintf(stream, "\n");
    flops += node_flops;
    megabytes += (double)node_bytes(node) / 1e6;
  }
  fprintf(stream, "%-*s  %-*s  %-*s  %10lld  %10.3f  %10.3f\n", w.name, "total", w.op, "", w.shape, "",
          (long long)program_parameters(graph), flops / 1e6, megabytes);
}

static void print_tensor(const facet_tensor *tensor, const char *kind, facet_widths w, FILE *stream) {
  char text[64];
  fprintf(stream, "%-*s  %-*s  %-*s  %s\n", w.name, tensor->name, w.op, kind, w.shape,
          facet_shape_format(&tensor->shape, text, sizeof text), dtype_names[tensor->dtype]);
}

static void print_results(const facet_graph *graph, FILE *stream) {
  for (int i = 0; i < graph->losses.n; i++)
    fprintf(stream, "loss %s = %g · %s\n", graph->losses.item[i].name, graph->losses.item[i].weight,
            graph->losses.item[i].tensor->name);
  for (int i = 0; i < graph->outputs.n; i++)
    fprintf(stream, "output %s = %s\n", graph->outputs.item[i].name, graph->outputs.item[i].tensor->name);
  for (int i = 0; i < graph->monitors.n; i++)
    fprintf(stream, "monitor %s = %s\n", graph->monitors.item[i].name, graph->monitors.item[i].tensor->name);
}

void facet_graph_print(const facet_graph *graph, FILE *stream) {
  static const char *const kinds[] = {
      [FACET_TENSOR_PARAMETER] = "parameter", [FACET_TENSOR_TABLE] = "table", [FACET_TENSOR_STATE] = "state"};
  facet_widths widths = find_widths(graph);
  fprintf(stream, "program %s, %lld samples; MFLOP is forward + backward, MB is outputs\n\n",
          facet_program_name(graph->program), (long long)graph->batch_size);
  for (int i = 0; i < graph->n_slots; i++) print_tensor(graph->slot[i].tensor, "input", widths, stream);
  for (int i = 0; i < graph->n_constants; i++)
    print_tensor(graph->constant[i], kinds[graph->constant[i]->kind], widths, stream);
  fprintf(stream, "\n");
  print_nodes(graph, widths, stream);
  fprintf(stream, "\n");
  print_results(graph, stream);
}

/* ---- Graphviz ---------------------------------------------------------------------------------------------------- */

/* A quoted identifier or label; `prefix` keeps nodes and tensors of the same name apart. */
static void print_quoted(FILE *stream, const char *prefix, const char *text) {
  fprintf(stream, "\"%s", prefix);
  for (const char *c = text; *c; c++) {
    if (*c == '"' || *c == '\\') fputc('\\', stream);
    fputc(*c, stream);
  }
  fputc('"', stream);
}

static void print_dot_tensor(FILE *stream, const facet_tensor *tensor, const char *style) {
  char text[64];
  fprintf(stream, "  ");
  print_quoted(stream, "t:", tensor->name);
  fprintf(stream, " [%s, label=", style);
  print_quoted(stream, "", tensor->name);
  fprintf(stream, ", xlabel=\"%s\"];\n", facet_shape_format(&tensor->shape, text, sizeof text));
}

static void print_dot_node(FILE *stream, const facet_node *node) {
  char text[64];
  fprintf(stream, "  ");
  print_quoted(stream, "n:", node->name);
  fprintf(stream, " [shape=box, label=");
  print_quoted(stream, "", node->name);
  fprintf(stream, ", xlabel=\"%s\"];\n", node->op->name);
  for (int k = 0; k < node->n_inputs; k++) {
    const facet_tensor *in = node->in[k];
    fprintf(stream, "  ");
    if (in->producer)
      print_quoted(stream, "n:", in->producer->name);
    else
      print_quoted(stream, "t:", in->name);
    fprintf(stream, " -> ");
    print_quoted(stream, "n:", node->name);
    if (in->producer)
      fprintf(stream, " [label=\"%s\"%s]", facet_shape_format(&in->shape, text, sizeof text),
              in->needs_gradient ? "" : ", style=dashed");
    fprintf(stream, ";\n");
  }
}

static void print_dot_results(FILE *stream, const facet_result_list *list, const char *what) {
  for (int i = 0; i < list->n; i++) {
    fprintf(stream, "  ");
    print_quoted(stream, what, list->item[i].name);
    fprintf(stream, " [shape=doubleoctagon];\n  ");
    print_quoted(stream, "n:", list->item[i].tensor->producer->name);
    fprintf(stream, " -> ");
    print_quoted(stream, what, list->item[i].name);
    fprintf(stream, ";\n");
  }
}

void facet_graph_print_dot(const facet_graph *graph, FILE *stream) {
  fprintf(stream, "digraph %s {\n  rankdir=TB; node [fontname=\"sans\", fontsize=10]; edge [fontsize=8];\n",
          facet_program_name(graph->program));
  for (int i = 0; i < graph->n_slots; i++) print_dot_tensor(stream, graph->slot[i].tensor, "shape=ellipse");
  for (int i = 0; i < graph->n_constants; i++)
    print_dot_tensor(stream, graph->constant[i],
                     graph->constant[i]->kind == FACET_TENSOR_TABLE ? "shape=cylinder" : "shape=note");
  for (int64_t i = 0; i < graph->n_nodes; i++) print_dot_node(stream, graph->node[i]);
  print_dot_results(stream, &graph->losses, "loss ");
  print_dot_results(stream, &graph->outputs, "output ");
  print_dot_results(stream, &graph->monitors, "monitor ");
  fprintf(stream, "}\n");
}
