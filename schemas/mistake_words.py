"""The mistakes' choices in words."""

WHERE = {
    "answer": "in what was written down",
    "bias": "in the gradients of biases",
    "decoupled": "in the update, beside the gradient",
    "derivative": "in the derivative of the loss, and so in all gradients",
    "errors": "in the gradients by preactivations and activations, not in those of parameters",
    "forward": "in the forward pass",
    "gradients": "in the derivative, not in the loss",
    "hidden": "in every hidden layer",
    "loss": "in the loss, not in its derivative",
    "off_diagonal": "off the diagonal only",
    "outputs": "in the derivative by the outputs already",
    "parameters": "in the gradients of weights and biases",
    "passed_back": "in what is passed back to the layer before",
    "preactivations": "in the gradients by preactivations",
    "bias_step": "in the steps of biases",
    "step": "in the step",
    "weights": "in the gradients of weights",
    "weights_step": "in the steps of weights",
}
"""The choices that most mistakes have, `at`, in words; "both" says no more than the mistake itself."""

WHERE_ELSE = {
    ("dropout_scale", "forward"): "in the forward pass, not in its derivative",
    ("dropout_scale", "gradients"): "in the derivative, not in the forward pass",
    ("weight_decay_not_asked_for", "step"): "in the gradient as the update takes it",
    ("weight_decay_not_asked_for", "gradients"): "in the gradients, not in the loss",
}
"""Where a mistake's `at` means something of its own."""

CHOICES: dict[str, str | dict[str, str]] = {
    "accumulator_not_reset.of": {
        "passed_back": "it is the error that an input collects",
        "preactivations": "it is a unit's preactivation, which starts from the bias",
        "weighted_sums": "it is a unit's weighted sum, to which the bias is added afterwards",
    },
    "accumulator_not_reset.between": {
        "examples": "it was not reset between examples",
        "units": "it was not reset between units",
    },
    "activation_formula_wrong.formula": "the activation was taken to be {}",
    "adaptive_step_mixed_up.form": {
        "root_left_out": "the denominator has no square root: v + eps for sqrt(v) + eps",
        "square_left_out": "the average is that of |g|, not of g^2",
        "square_of_average": "v averages m^2, the square of the first average, not g^2",
        "square_of_corrected_average": "v averages the square of m / (1 - beta1^t), not g^2",
        "gradient_for_average": "the step goes along g, not along the average m",
        "sum_for_first": "m is a sum, beta1 m + g: its 1 - beta1 is missing",
        "sum_for_second": "v is a sum, beta v + g^2: its 1 - beta is missing",
        "sum_for_both": "m and v are sums, beta m + g: their 1 - beta is missing",
        "correction_multiplied": "the bias correction multiplies, where it should divide",
        "step_ahead": "the bias correction counts one step too many",
        "first_step": "the bias correction is that of the first step, t = 1",
        "step_behind": "the bias correction counts one step too few",
        "betas_exchanged": "beta1 stands for beta2, and beta2 for beta1",
        "alpha_exchanged": "1 - alpha stands for alpha",
        "plain_gradient": "the gradient is not scaled at all: w - eta g",
        "keras_defaults": "Keras's defaults were taken for those of the request",
    },
    "averages_mixed_up.form": {
        "first_exchanged": "1 - beta1 stands for beta1 in the average m of the gradient",
        "second_exchanged": "1 - beta2 stands for beta2 in the average v of its square",
        "both_exchanged": "1 - beta1 stands for beta1 in the average m, and 1 - beta2 for beta2 in v",
        "corrected_by_first": "the bias of v was corrected with beta1, as that of m",
        "corrected_by_second": "the bias of m was corrected with beta2, as that of v",
        "first_without_power": "the bias of m was corrected by 1 - beta1: its power t is missing",
        "second_without_power": "the bias of v was corrected by 1 - beta2: its power t is missing",
        "first_multiplied": "m was multiplied by its correction, not divided",
        "second_multiplied": "v was multiplied by its correction, not divided",
        "corrections_exchanged": "the bias of m was corrected with beta2, and that of v with beta1",
        "correction_without_root": "the learning rate was multiplied by 1 - beta2^t, not by its root",
        "before_gradient": "the step was made of the averages from before this gradient entered them",
        "share_squared": "1 - beta was squared too: ((1 - beta) g)^2 entered v",
        "one_sum": "the squares were added up over the whole array, which has one v",
        "one_mean": "the squares were averaged over the whole array, which has one v",
    },
    "bias_added_wrongly.form": {
        "subtracted": "the bias was subtracted",
        "threshold": "the bias was subtracted, and its gradient is that of a threshold, with a minus",
        "twice": "the bias was added twice",
        "per_input": "the bias was added once for each input of the layer",
        "along_batch": "example k got the bias of unit k",
    },
    "bias_correction_left_out.of": {
        "both": "both averages lack it",
        "first": "the average m of the gradient lacks it",
        "second": "the average v of its square lacks it",
    },
    "bias_gradient_not_summed.rows": {
        "all": "each example's error was kept as a row of its own",
        "first": "the first example's error was taken alone",
        "last": "the last example's error was taken alone",
        "largest": "the largest error of each unit was taken: max(axis=0) for sum(axis=0)",
    },
    "bias_gradient_of_weights.form": {
        "sum": "the gradients of a unit's weights were added up",
        "mean": "the gradients of a unit's weights were averaged",
        "last": "the gradient of a unit's last weight was taken",
    },
    "bias_gradient_once_per_weight.form": {
        "sum": "the gradient is as many times too large as the unit has weights",
        "matrix": "the gradient was repeated for every weight",
    },
    "bias_gradient_one_for_all.form": {
        "sum": "the sum went over examples and units",
        "mean": "the sum over the examples was averaged over the units",
    },
    "binary_term_sign.term": {
        "second": "it is the sign of the term of 1 - t",
        "first": "it is the sign of the term of t",
    },
    "binary_in_place_of_categorical.over": {
        "sum": "the terms of a row's outputs were added up",
        "mean": "the terms of a row's outputs were averaged",
    },
    "binary_in_place_of_categorical.sign": {
        "right": "",
        "wrong": "the derivative of its second term has the wrong sign besides",
    },
    "class_weights_mixed_up.form": {
        "left_out": "every class counts the same",
        "divided_by_batch": "the mean divides by the number of examples, not by the sum of their weights",
        "targets_alone": "the targets alone were multiplied by them, and the outputs were not",
    },
    "clipping_mixed_up.form": {
        "weights_alone": "the weights' gradients were measured and clipped, and those of biases were not",
        "other_kind": "each number was limited where the norm should be, or the norm where each number should be",
        "root_left_out": "the square of the norm was taken for the norm",
    },
    "clipping_not_asked_for.by": {
        "norm": "the norm of all gradients was limited",
        "value": "each number was limited",
    },
    "clipping_not_asked_for.limit": "the limit is {}",
    "clipping_per_layer.per": {
        "layer": "each layer was clipped by its own norm",
        "parameter": "each array was clipped by its own norm",
    },
    "computed_after_update.of": {
        "loss": "the loss is that of the updated network",
        "loss and outputs": "loss and outputs are those of the updated network",
    },
    "constant_factor.times": "the numbers are {} times what is right",
    "constant_factor.meaning": "that factor is {}",
    "derivative_at_kink.side": {
        "other": "the derivative from the other side was taken",
        "middle": "the mean of both sides' derivatives was taken",
    },
    "derivative_formula_wrong.formula": "the derivative was taken to be {}, with a the activation",
    "derivative_of_neighbor.neighbor": {
        "before": "the value of the unit before was taken",
        "after": "the value of the unit after was taken",
    },
    "derivative_of_other_layer.which": {
        "after": "the numbers taken were those of the layer after",
        "before": "the numbers taken were those of the layer before",
    },
    "derivative_of_other_layer.function": {
        "other": "the activation was that layer's too",
        "own": "the activation was still the layer's own",
        "formula": "the layer's own formula, which takes its activation, was given what that layer gives",
    },
    "dropout_scale.times": "the scale is {}",
    "dropout_scale.of": {
        "hidden layers": "what hidden layers give was scaled",
        "inputs": "the network's inputs were scaled",
    },
    "epsilon_in_logarithm.form": {
        "added": "epsilon was added to each probability",
        "kept_above": "each probability was kept from epsilon to 1 - epsilon",
    },
    "epsilon_in_logarithm.epsilon": "epsilon is {}",
    "epsilon_placement.place": {
        "inside_root": "epsilon is inside the root: sqrt(v + eps)",
        "before_correction": "epsilon was added before the bias was corrected",
    },
    "error_averaged.used": {
        "for_each": "each example got the mean error",
        "for_last": "the last example alone got the mean error",
    },
    "error_of_other_layer.which": {
        "after": "the error was that of the layer after",
        "before": "the error was that of the layer before",
    },
    "error_of_other_layer.of": {
        "both": "weights and bias were given it",
        "weights": "the weights were given it, and the bias its own",
        "bias": "the bias was given it, and the weights their own",
    },
    "error_without_sign.form": {
        "magnitude": "the magnitude was taken",
        "square": "the square was taken, as it is in the loss",
    },
    "example_left_out.row": {
        "last": "the last example is missing",
        "first": "the first example is missing",
    },
    "example_left_out.over": {
        "all": "the mean still divides by all of them",
        "rest": "the mean divides by those that are left",
    },
    "finite_differences.scheme": {
        "central": "the differences are central ones",
        "forward": "the differences are forward ones",
    },
    "finite_differences.of": {
        "parameters": "",
        "inputs_too": "the inputs' gradient is made in the same way",
    },
    "finite_differences.step": "h is {}",
    "flattened_in_other_order.of": {
        "gradients": "these are the gradients of the weights",
        "both": "these are the weights and their gradients",
        "weights": "these are the weights, in the forward pass and on the way back",
        "forward": "these are the weights in the forward pass",
        "passed_back": "these are the weights on the way back",
        "inputs": "these are the inputs",
    },
    "flattened_in_other_order.read": {
        "columns": "rows were read as columns",
        "rows": "columns were read as rows",
    },
    "gradient_missing.of": {
        "weights and bias": "weights and bias have none",
        "weights": "the weights have none, and the bias has its own",
        "everything": "nothing has one, from the derivative of the loss on",
    },
    "hyperparameters_forgotten.form": {
        "defaults": "the activation's defaults were taken",
        "no_slope": "the slope was taken to be 0",
        "other_framework": "another framework's default was taken",
        "slope_0.1": "the slope was taken to be 0.1",
        "slope_0.2": "the slope was taken to be 0.2",
    },
    "hyperparameters_forgotten.of": {
        "both": "function and derivative agree in it",
        "derivative": "the derivative alone is wrong",
        "activation": "the function alone is wrong",
    },
    "inputs_of_other_layer.of": {
        "network": "the network's own inputs were taken",
        "layer before": "the inputs of the layer before were taken",
    },
    "inputs_preprocessed.form": {
        "standardized": "each feature had its mean subtracted and was divided by its standard deviation over the batch",
        "standardized_unbiased": "each feature had its mean subtracted and was divided by its standard deviation over "
        "the batch, of which the squares are divided by N - 1",
        "standardized_together": "all numbers had their common mean subtracted and were divided by their common "
        "standard deviation",
        "centered": "each feature had its mean over the batch subtracted",
        "min_max": "each feature was scaled from 0 to 1 by its least and largest value in the batch",
        "min_max_together": "all numbers were scaled from 0 to 1 by the least and the largest of them",
        "divided_by_largest": "each feature was divided by its largest value in the batch",
        "divided_by_255": "they were divided by 255",
        "unit_rows": "each example was divided by its Euclidean norm",
        "activation": "the first layer's activation was applied to them",
        "sigmoid": "sigmoid was applied to them",
    },
    "integers_in_place_of_decimals.of": {
        "sums": "each partial sum of the weighted inputs was cut off",
        "preactivations": "the preactivations were cut off",
        "activations": "the activations were cut off",
        "inputs": "the network's inputs were cut off",
        "parameters": "the weights and biases were cut off",
        "weights": "the weights were cut off",
        "targets": "the targets were cut off",
        "loss": "the factor of the loss was cut off, and so the loss is 0",
    },
    "kept_of_last_example.shown": {
        "no": "",
        "yes": "the activations that are given are those of the last example too",
    },
    "label_smoothing_mixed_up.form": {
        "left_out": "the targets were not smoothed",
        "other_classes": "what the target's class loses was shared among the other classes alone",
        "added": "s / K was added, and the target's class did not lose s",
        "not_asked_for": "the targets were smoothed by 0.1, and the request does not smooth them",
    },
    "labels_as_numbers.along": {
        "rows": "each row's label was subtracted from all of its outputs",
        "outputs": "the label of example k was subtracted from output k of every row",
    },
    "learning_rate_off.times": "the step is {} times as long as it should be",
    "logarithm_base.base": "the base is {}",
    "loop_one_short.over": {
        "inputs": "an input is missing in a unit's sum",
        "biases": "a unit has no bias",
        "passed_back": "a unit is missing in the error that an input collects",
        "gradients_of_inputs": "an input's weights have no gradient",
        "gradients_of_units": "a unit's weights and bias have no gradient",
        "weights_of_units": "a unit's weights have no gradient, and its bias has one",
        "bias_gradients": "a bias has no gradient",
    },
    "loop_one_short.left": {
        "last": "the last one was left out",
        "first": "the first one was left out",
    },
    "mean_in_place_of_sum.over": {
        "batch": "the sum was divided by the number of examples",
        "elements": "the sum was divided by the number of all elements",
    },
    "momentum_buffer_of_other_form.form": {
        "exchanged": "momentum and 1 - momentum are exchanged: (1 - momentum) b + momentum g",
        "kept_whole": "the buffer was kept whole: b + g",
        "with_learning_rate": "the learning rate was in the buffer: b = momentum b + eta g, then w - b",
        "downhill": "the buffer pointed downhill: b = momentum b - g, then w + eta b",
        "downhill_with_learning_rate": "the buffer was the step itself: b = momentum b - eta g, then w + b",
    },
    "momentum_mixed_up.form": {
        "left_out": "the step is along the gradient alone",
        "averaged": "the buffer is an average: momentum b + (1 - momentum) g",
        "nesterov": "Nesterov's step was taken for the plain one, or the reverse",
        "buffer_before": "the buffer was taken before this gradient entered it",
    },
    "not_updated.of": {
        "all": "neither weights nor biases were updated",
        "weights": "the weights were not updated",
        "bias": "the biases were not updated",
    },
    "one_example_only.of": {
        "weights and bias": "",
        "weights": "the gradients of biases are those of all",
    },
    "one_example_only.row": {
        "last": "the last example was the only one",
        "first": "the first example was the only one",
    },
    "one_term_only.of": {
        "weighted_inputs": "it is a unit's weighted sum, to which the bias is added afterwards",
        "preactivations": "it is a unit's preactivation, and the bias that it started from is lost",
        "passed_back": "it is the error that an input collects",
        "loss": "the loss is that of one example, divided as the sum would be",
        "loss_undivided": "the loss is that of one example",
    },
    "one_term_only.term": {
        "last": "the last one was kept",
        "first": "the first one was kept",
    },
    "other_activation.to": "it was {}",
    "other_activation.of": {
        "both": "function and derivative are both the other one's",
        "derivative": "the function is right, and the derivative is the other one's",
    },
    "output_error_mixed_up.form": {
        "targets_left_out": "the targets were not subtracted: y for y - t",
        "targets_added": "the targets were added: y + t for y - t",
        "one_from_all": "1 was subtracted from every output: y - 1 for y - t",
        "logits": "the preactivations stand for the outputs: z - t for y - t",
        "target_alone": "the output of the target's class alone got an error, and the others 0",
    },
    "outputs_rounded.form": {
        "above_half": "outputs above 0.5 were taken to be 1, and others 0",
        "largest": "the largest output of each row was taken to be 1, and the others 0",
    },
    "plus_in_place_of_minus.of": {
        "step": "the step was added",
        "gradient": "the gradient's sign was turned before the step was made of it",
    },
    "regularization_mixed_up.form": {
        "divided_by_batch": "the penalty was divided by the number of examples",
        "wrong_sign": "the penalty has the wrong sign",
        "without_sign": "the derivative of |w| was taken to be |w|, not its sign",
    },
    "relu_derivative_wrong.form": {
        "exchanged": "the slopes of both sides are exchanged",
        "minus_slope": "the slope of the negative side has a minus",
        "slope_times_z": "the slope of the negative side was multiplied by z",
        "sign": "the derivative was taken to be the sign of z",
    },
    "relu_mask_of_gradient.of": {
        "gradient": "the incoming gradient's sign alone decided",
        "both": "preactivation and incoming gradient both had to be positive",
    },
    "relu_mask_of_other_layer.which": {
        "before": "the mask was that of the layer before",
        "after": "the mask was that of the layer after",
    },
    "rows_shared.rows": {
        "inputs": "the rows belong to inputs",
        "units": "the rows belong to units",
    },
    "rows_shared.form": {
        "added": "everything was added to the one row",
        "last": "the one row holds what was written last",
    },
    "sample_weights_left_out.of": {
        "everything": "every example counts the same",
        "divisor": "the mean divides by the number of examples, not by the sum of their weights",
    },
    "several_steps.form": {
        "each_example": "there was an update after each example",
        "two": "there were two updates of the whole batch",
    },
    "softmax_derivative_twice.diagonal": {
        "no": "",
        "yes": "only the diagonal p (1 - p) of its Jacobian was used",
    },
    "softmax_over_batch.over": {
        "batch": "the sum went over the examples",
        "everything": "the sum went over all numbers",
        "without_keepdims": "column k was divided by the sum of row k, since keepdims is missing",
    },
    "softmax_over_batch.derivative": {
        "combined": "the error is p - t all the same",
        "own": "the derivative is the one that belongs to it",
    },
    "squared_in_place_of_cross_entropy.over": {
        "sum": "the squares of a row's outputs were added up",
        "mean": "the squares of a row's outputs were averaged",
        "half": "the squares of a row's outputs were added up and halved",
    },
    "step_in_place_of_parameters.sign": {
        "minus": "the step goes downhill",
        "plus": "the step goes uphill",
    },
    "sum_in_place_of_mean.over": {
        "all": "",
        "batch": "the division by the number of examples is missing, and the one by the outputs is there",
    },
    "steps_counted_per_parameter.of": {
        "arrays": "the count goes on with every array",
        "numbers": "the count goes on with every number",
    },
    "targets_preprocessed.form": {
        "standardized": "each had its mean subtracted and was divided by its standard deviation over the batch",
        "centered": "each had its mean over the batch subtracted",
        "min_max": "each was scaled from 0 to 1 by its least and largest value in the batch",
        "divided_by_largest": "each was divided by its largest value in the batch",
        "minus_one_to_one": "they were 2 t - 1: -1 stands for 0",
        "complement": "they were 1 - t: 0 and 1 are exchanged",
    },
    "targets_shifted.to": {
        "next_class": "class k + 1 was taken for class k",
        "previous_class": "class k - 1 was taken for class k",
        "next_example": "each row got the targets of the next one",
        "previous_example": "each row got the targets of the one before",
        "reversed": "the rows of the targets were in reverse order",
    },
    "weight_decay_mixed_up.form": {
        "other_kind": "it was added to the gradient where it is taken from the weight, or the reverse",
        "left_out": "it was left out",
        "without_learning_rate": "it was not multiplied by the learning rate",
        "doubled": "it was taken twice",
        "wrong_sign": "it has the wrong sign",
    },
    "weight_decay_not_asked_for.of": {
        "weights": "the weights decay",
        "parameters": "weights and biases decay",
    },
    "weight_decay_not_asked_for.strength": "lambda is {}",
    "weight_gradient_of_means.form": {
        "mean": "the inputs were averaged over the batch",
        "sum": "the inputs were added up over the batch",
    },
    "weights_of_other_layer.which": {
        "before": "the weights were those of the layer before",
        "after": "the weights were those of the layer after",
    },
    "written_over.of": {
        "preactivations": "the preactivations that are given are the activations",
        "hidden_preactivations": "the preactivations of hidden layers that are given are their activations",
        "errors": "the gradients by activations that are given are those by preactivations",
        "hidden_errors": "the gradients by activations of hidden layers that are given are those by preactivations",
        "outputs": "the outputs that are given are the outputs less the targets",
        "outputs_as_error": "the outputs that are given are the gradients by the last preactivations",
    },
}  # fmt: skip
"""The other choices as clauses, by mistake and choice; "" where one says no more than the mistake itself."""
