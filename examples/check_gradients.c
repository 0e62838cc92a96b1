/* Check backpropagation written by hand, in C, against the service: every gradient, number by number.
 *
 *   cc -std=c99 -o check_gradients examples/check_gradients.c -lm
 *   ./check_gradients --request | curl -s --json @- http://127.0.0.1:8000/v1/backward | ./check_gradients --compare
 *
 * With `--compare --break` it plants a sign error in its own bias gradient and shows what a found mistake looks like.
 * The exit status is 0 when all numbers agree to 1e-12, 1 when one differs, 2 when there is nothing to compare.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 3, IN = 2, HIDDEN = 3, OUT = 2, NUMBERS = 256, POINTER = 96 };

static double x[BATCH][IN] = {{0.5, -1.2}, {-0.3, 0.8}, {1.1, 0.4}};
static int label[BATCH] = {0, 1, 1};
static double w1[IN][HIDDEN] = {{0.4, -0.7, 0.2}, {0.9, 0.1, -0.5}}, b1[HIDDEN] = {0.1, -0.2, 0.3};
static double w2[HIDDEN][OUT] = {{0.6, -0.4}, {-0.3, 0.8}, {0.7, 0.5}}, b2[OUT] = {0.05, -0.05};

/* A name `dq` is the derivative of the loss by q. */
static double loss, dw1[IN][HIDDEN], db1[HIDDEN], dz1[BATCH][HIDDEN], da1[BATCH][HIDDEN];
static double dw2[HIDDEN][OUT], db2[OUT], dz2[BATCH][OUT], da2[BATCH][OUT];

static void backpropagate(double bias_sign) {
  for (int n = 0; n < BATCH; n++) {
    double a1[HIDDEN], p[OUT], sum = 0;
    for (int j = 0; j < HIDDEN; j++) {
      double z = b1[j];
      for (int i = 0; i < IN; i++) z += x[n][i] * w1[i][j];
      a1[j] = tanh(z);
    }
    for (int k = 0; k < OUT; k++) {
      double z = b2[k];
      for (int j = 0; j < HIDDEN; j++) z += a1[j] * w2[j][k];
      sum += p[k] = exp(z);
    }
    for (int k = 0; k < OUT; k++) p[k] /= sum;
    loss -= log(p[label[n]]) / BATCH;

    for (int k = 0; k < OUT; k++) {
      double target = k == label[n];
      da2[n][k] = -target / p[k] / BATCH;
      dz2[n][k] = (p[k] - target) / BATCH; /* softmax and cross-entropy together */
      db2[k] += dz2[n][k];
      for (int j = 0; j < HIDDEN; j++) {
        dw2[j][k] += a1[j] * dz2[n][k];
        da1[n][j] += dz2[n][k] * w2[j][k];
      }
    }
    for (int j = 0; j < HIDDEN; j++) {
      dz1[n][j] = da1[n][j] * (1 - a1[j] * a1[j]); /* the derivative of tanh */
      db1[j] += bias_sign * dz1[n][j];
      for (int i = 0; i < IN; i++) dw1[i][j] += x[n][i] * dz1[n][j];
    }
  }
}

static void print_rows(const double *m, int rows, int columns) {
  for (int i = 0; i < rows * columns; i++)
    printf("%s%.17g%s", i % columns ? ", " : i ? ", [" : "[[", m[i], (i + 1) % columns ? "" : "]");
  printf("]");
}

static void print_layer(const double *w, const double *b, int inputs, int units, const char *activation) {
  printf("{\"activation\": \"%s\", \"weights\": ", activation);
  print_rows(w, inputs, units);
  for (int j = 0; j < units; j++) printf("%s%.17g", j ? ", " : ", \"bias\": [", b[j]);
  printf("]}");
}

static void print_request(void) {
  printf("{\"network\": {\"layers\": [");
  print_layer(*w1, b1, IN, HIDDEN, "tanh");
  printf(", ");
  print_layer(*w2, b2, HIDDEN, OUT, "softmax");
  printf("]}, \"inputs\": ");
  print_rows(*x, BATCH, IN);
  for (int n = 0; n < BATCH; n++) printf("%s%d", n ? ", " : ", \"targets\": [", label[n]);
  printf("], \"loss\": \"cross_entropy\", \"include\": [\"loss\", \"gradients\"]}\n");
}

/* A reader for the numbers of a JSON text: each is kept with its JSON pointer, such as /layers/0/gradients/bias/2. */
static char text[1 << 16], *at = text;
static struct { char pointer[POINTER]; double value; } answer[NUMBERS];
static int numbers;

static void fail(const char *why) {
  fprintf(stderr, "%s\n%.1000s\n", why, text);
  exit(2);
}

static char next(void) { return *(at += strspn(at, " \t\r\n")); }

static void read_string(char *out, size_t size) {
  if (next() != '"') fail("This is not JSON:");
  for (at++; *at != '"'; at++) {
    if (*at == '\\') at++;
    if (!*at) fail("This JSON ends too early:");
    if (size > 1) *out++ = *at, size--;
  }
  at++, *out = 0;
}

static void read_value(const char *pointer) {
  char c = next(), key[POINTER], inner[2 * POINTER];
  if (c == '{' || c == '[') {
    at++;
    for (int i = 0; next() != c + 2; i++) { /* in ASCII, } is { + 2 and ] is [ + 2 */
      if (i && *at++ != ',') fail("This is not JSON:");
      snprintf(key, sizeof key, "%d", i);
      if (c == '{') {
        read_string(key, sizeof key);
        if (next() != ':') fail("This is not JSON:");
        at++;
      }
      if (snprintf(inner, sizeof inner, "%s/%s", pointer, key) >= POINTER) fail("This is nested too deep:");
      read_value(inner);
    }
    at++;
  } else if (c == '"') {
    read_string(key, sizeof key);
  } else if (c == '-' || (c >= '0' && c <= '9')) {
    if (numbers == NUMBERS) fail("There are too many numbers in this:");
    strcpy(answer[numbers].pointer, pointer);
    answer[numbers++].value = strtod(at, &at);
  } else {
    size_t letters = strspn(at, "truefalsn"); /* true, false or null */
    if (!letters) fail(c ? "This is not JSON:" : "This JSON ends too early:");
    at += letters;
  }
}

static int compared, wrong;
static double largest;

static void compare(const char *field, const double *mine, int rows, int columns) {
  for (int i = 0; i < (rows ? rows : 1) * columns; i++) {
    char pointer[POINTER];
    int k = 0;
    if (!columns) break;
    if (rows) snprintf(pointer, sizeof pointer, "%s/%d/%d", field, i / columns, i % columns);
    else snprintf(pointer, sizeof pointer, "%s/%d", field, i);
    while (k < numbers && strcmp(answer[k].pointer, pointer)) k++;
    if (k == numbers) fail("This is not the answer of /v1/backward to my request:");
    double scale = fmax(fabs(mine[i]), fabs(answer[k].value));
    double error = scale > 0 ? fabs(mine[i] - answer[k].value) / scale : 0;
    if (!(error <= 1e-12)) wrong++, printf("%s: mine %.17g, the service's %.17g, relative error %.2g\n", pointer, mine[i], answer[k].value, error);
    if (error > largest) largest = error;
    compared++;
  }
}
