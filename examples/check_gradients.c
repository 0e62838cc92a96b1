/* Backpropagation written by hand in C, checked against the service: every gradient, number by number.
 *
 *   cc -std=c99 -o check_gradients examples/check_gradients.c -lm
 *   ./check_gradients --request | curl -s --json @- http://127.0.0.1:8000/v1/backward | ./check_gradients --compare
 *
 * `--compare --break` plants a sign error in its own bias gradient: this is what a found mistake looks like.
 * The exit status is 0 if all numbers agree to 1e-12, 1 if one does not, 2 if there is nothing to compare.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 3, IN = 2, HIDDEN = 3, OUT = 2, NUMBERS = 200, LENGTH = 80 };

static double x[BATCH][IN] = {{0.5, -1.2}, {-0.3, 0.8}, {1.1, 0.4}}, label[BATCH] = {0, 1, 1};
static double w1[IN][HIDDEN] = {{0.4, -0.7, 0.2}, {0.9, 0.1, -0.5}}, b1[HIDDEN] = {0.1, -0.2, 0.3};
static double w2[HIDDEN][OUT] = {{0.6, -0.4}, {-0.3, 0.8}, {0.7, 0.5}}, b2[OUT] = {0.05, -0.05};

/* dq is the derivative of the loss by q. */
static double dw1[IN][HIDDEN], db1[HIDDEN], dz1[BATCH][HIDDEN], da1[BATCH][HIDDEN];
static double dw2[HIDDEN][OUT], db2[OUT], dz2[BATCH][OUT], da2[BATCH][OUT];

static void backpropagate(int bias_sign) {
  for (int n = 0; n < BATCH; n++) {
    double a1[HIDDEN], a2[OUT], sum = 0;
    for (int j = 0; j < HIDDEN; j++) {
      double z = b1[j];
      for (int i = 0; i < IN; i++) z += x[n][i] * w1[i][j];
      a1[j] = tanh(z);
    }
    for (int k = 0; k < OUT; k++) {
      double z = b2[k];
      for (int j = 0; j < HIDDEN; j++) z += a1[j] * w2[j][k];
      sum += a2[k] = exp(z);
    }
    for (int k = 0; k < OUT; k++) {
      double target = k == label[n];
      a2[k] /= sum;
      da2[n][k] = -target / a2[k] / BATCH;
      dz2[n][k] = (a2[k] - target) / BATCH; /* of softmax and cross-entropy together */
      db2[k] += dz2[n][k];
      for (int j = 0; j < HIDDEN; j++) dw2[j][k] += a1[j] * dz2[n][k];
      for (int j = 0; j < HIDDEN; j++) da1[n][j] += dz2[n][k] * w2[j][k];
    }
    for (int j = 0; j < HIDDEN; j++) {
      dz1[n][j] = da1[n][j] * (1 - a1[j] * a1[j]);
      db1[j] += bias_sign * dz1[n][j];
      for (int i = 0; i < IN; i++) dw1[i][j] += x[n][i] * dz1[n][j];
    }
  }
}

/* Print a field of the request; an array without rows is a vector. 17 digits read back as the same double. */
static void print(const char *name, const double *array, int rows, int columns) {
  printf("\"%s\": %s", name, rows ? "[[" : "[");
  for (int i = 0; i < (rows ? rows : 1) * columns; i++)
    printf("%s%.17g", i == 0 ? "" : i % columns ? ", " : "], [", array[i]);
  printf(rows ? "]]" : "]");
}

static void print_request(void) {
  printf("{\"network\": {\"layers\": [{\"activation\": \"tanh\", ");
  print("weights", *w1, IN, HIDDEN), printf(", "), print("bias", b1, 0, HIDDEN);
  printf("}, {\"activation\": \"softmax\", ");
  print("weights", *w2, HIDDEN, OUT), printf(", "), print("bias", b2, 0, OUT);
  printf("}]}, ");
  print("inputs", *x, BATCH, IN), printf(", "), print("targets", label, 0, BATCH);
  printf(", \"loss\": \"cross_entropy\", \"include\": [\"gradients\"]}\n");
}

/* A reader of JSON that keeps its numbers, each with its JSON pointer, such as /layers/0/gradients/bias/2. */
static char text[1 << 16], *at = text;
static struct { char pointer[LENGTH]; double value; } numbers[NUMBERS];
static int count, compared, wrong;

static void fail(void) {
  if (*text) fprintf(stderr, "This is not the answer to my request:\n%.2000s\n", text);
  else fprintf(stderr, "No answer came. Start a server with: make run\n");
  exit(2);
}

static char next(void) { return *(at += strspn(at, " \t\r\n")); }

static void expect(char c) {
  if (next() != c) fail();
  at++;
}

static void read_string(char *out) {
  expect('"');
  int length = 0;
  for (; *at != '"'; at++) {
    if (*at == '\\') at++;
    if (!*at) fail();
    if (length < LENGTH - 1) out[length++] = *at;
  }
  out[length] = 0;
  at++;
}

static void read_value(const char *pointer) {
  char c = next(), key[LENGTH], inner[2 * LENGTH + 1];
  if (c == '{' || c == '[') {
    at++;
    for (int i = 0; next() != c + 2; i++) { /* in ASCII, } is { + 2 and ] is [ + 2 */
      if (i) expect(',');
      if (c == '{') read_string(key), expect(':');
      else snprintf(key, sizeof key, "%d", i);
      if (snprintf(inner, sizeof inner, "%s/%s", pointer, key) >= LENGTH) fail();
      read_value(inner);
    }
    at++;
  } else if (c == '"') {
    read_string(key);
  } else if (c && strchr("-0123456789", c)) {
    if (count == NUMBERS) fail();
    strcpy(numbers[count].pointer, pointer);
    numbers[count++].value = strtod(at, &at);
  } else {
    size_t letters = strspn(at, "truefalsn"); /* true, false or null */
    if (letters == 0) fail();
    at += letters;
  }
}

static void compare(const char *field, const double *mine, int rows, int columns) {
  for (int i = 0; i < (rows ? rows : 1) * columns; i++, compared++) {
    char pointer[LENGTH];
    int k = 0;
    snprintf(pointer, sizeof pointer, rows ? "%s/%d/%d" : "%s/%d", field, rows ? i / columns : i, i % columns);
    while (k < count && strcmp(numbers[k].pointer, pointer)) k++;
    if (k == count) fail();
    double theirs = numbers[k].value, error = fabs(mine[i] - theirs);
    if (error <= 1e-12 * fmax(fabs(mine[i]), fabs(theirs))) continue;
    printf("%s: mine %.17g, the service's %.17g, %.2g apart\n", pointer, mine[i], theirs, error);
    wrong++;
  }
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "";
  int broken = argc > 2 && !strcmp(argv[2], "--break");
  if (!strcmp(mode, "--request")) return print_request(), 0;
  if (strcmp(mode, "--compare")) {
    fprintf(stderr, "usage: %s --request | --compare [--break]\n", argv[0]);
    return 2;
  }
  text[fread(text, 1, sizeof text - 1, stdin)] = 0;
  read_value("");
  backpropagate(broken ? -1 : 1);
  compare("/layers/0/gradients/weights", *dw1, IN, HIDDEN);
  compare("/layers/0/gradients/bias", db1, 0, HIDDEN);
  compare("/layers/0/gradients/preactivations", *dz1, BATCH, HIDDEN);
  compare("/layers/0/gradients/activations", *da1, BATCH, HIDDEN);
  compare("/layers/1/gradients/weights", *dw2, HIDDEN, OUT);
  compare("/layers/1/gradients/bias", db2, 0, OUT);
  compare("/layers/1/gradients/preactivations", *dz2, BATCH, OUT);
  compare("/layers/1/gradients/activations", *da2, BATCH, OUT);
  if (wrong) printf("%d of %d numbers differ.\n", wrong, compared);
  else printf("All %d numbers agree to 1e-12.\n", compared);
  return wrong > 0;
}
