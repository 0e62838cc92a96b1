"""Hints for names that are not known: what other libraries call the same thing, or the name that looks most alike."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 64
"""No more of a name is looked at."""
ENDINGS = ("loss", "layer", "initializer", "optimizer", "scheduler", "schedule", "score", "lr")
"""What libraries add to a name."""

# Ours, and what else it is called, in lower case without underscores and endings. Where a name means different things,
# the first of ours that is known at a place counts.
SYNONYMS = {
    # Activations
    "identity": "linear none id eye passthrough",
    "silu": "swish swish1",
    "hard_swish": "hardsilu",
    "sigmoid": "logistic sig expit sigma",
    "relu": "rectifier rectifiedlinear plus",
    "leaky_relu": "prelu rrelu lrelu",
    "gelu": "gelunew gelutanh gelufast gelupytorchtanh",
    "exponential": "exp exponentialdecay",
    "softmax": "softargmax normalizedexponential",
    # Losses
    "cross_entropy": "ce xent categoricalcrossentropy sparsecategoricalcrossentropy softmaxcrossentropy "
    "softmaxcrossentropywithintegerlabels multinomial deviance log",
    "binary_cross_entropy": "bce bcewithlogits sigmoidcrossentropy sigmoidbinarycrossentropy "
    "binarycrossentropywithlogits logistic binomial",
    "negative_log_likelihood": "nll",
    "mse": "meansquarederror squarederror l2 meansquared squared",
    "half_squared_error": "quadratic quadraticcost halfmse sse sumofsquares euclidean",
    "mae": "meanabsoluteerror absoluteerror l1 absolute meanabsolute",
    "rmse": "rootmeansquarederror",
    "kl_divergence": "kl kld kldiv kullbackleibler kullbackleiblerdivergence relativeentropy",
    "poisson": "poissonnll",
    "categorical_hinge": "multiclasshinge crammersinger",
    "multi_margin": "multiclassmargin",
    "cosine_similarity": "cosine cosineembedding cosinedistance cosineproximity",
    "focal": "sigmoidfocal categoricalfocalcrossentropy",
    # Optimizers
    "sgd": "gd gradientdescent stochasticgradientdescent momentum nesterov nag vanilla",
    "adam": "amsgrad",
    "nadam": "nesterovadam",
    "asgd": "averagedsgd",
    # Initializers
    "glorot_uniform": "xavier xavieruniform glorot",
    "glorot_normal": "xaviernormal",
    "he_uniform": "kaiming kaiminguniform",
    "he_normal": "he kaimingnormal msra",
    "lecun_normal": "lecun",
    "normal": "gaussian randomnormal",
    "uniform": "randomuniform rand",
    "zeros": "zero",
    "ones": "one",
    "pytorch_linear": "default pytorch torch",
    # Schedules
    "cosine": "cosineannealing cosinedecay",
    "cosine_warm_restarts": "cosineannealingwarmrestarts sgdr cosinedecayrestarts",
    "reduce_on_plateau": "plateau reducelronplateau",
    "polynomial": "polynomialdecay poly",
    "cyclic": "clr triangular",
    # Metrics
    "accuracy": "acc categoricalaccuracy sparsecategoricalaccuracy binaryaccuracy zeroone",
    "top_k_accuracy": "topk topkcategoricalaccuracy top5 top5accuracy",
    "roc_auc": "auc auroc",
    "log_loss": "crossentropy",
    "r2": "rsquared coefficientofdetermination",
    "mean_absolute_percentage_error": "mape",
    "recall": "sensitivity tpr",
    # Fields
    "inputs": "x xtrain input feature features data samples xs",
    "targets": "y ytrain ytrue label labels target ys",
    "network": "model net mlp",
    "weights": "w weight kernel coefs",
    "bias": "b biases intercepts",
    "activation": "nonlinearity activationfn activationfunction",
    "units": "neurons nodes outfeatures outputsize hiddenunits size",
    "input_size": "infeatures inputdim inputshape ninputs inputfeatures",
    "loss": "lossfn lossfunction criterion cost costfunction objective",
    "optimizer": "optim optimiser solver updater",
    "learning_rate": "lr eta stepsize learningrateinit rate alpha",
    "betas": "beta1 beta2 beta",
    "eps": "epsilon",
    "weight_decay": "decay wd",
    "l2": "lambda reglambda alpha",
    "gradient_clipping": "clip clipping clipnorm clipvalue maxgradnorm gradclip",
    "learning_rate_schedule": "lrscheduler lrschedule scheduler schedule",
    "regularization": "reg regularizer penalty",
    "sample_weights": "sampleweight exampleweights",
    "class_weights": "classweight weight",
    "from_logits": "logits",
    "epochs": "nepochs numepochs maxiter iterations",
    "batch_size": "bs minibatchsize",
    "seed": "randomstate randomseed rngseed",
    "weights_initializer": "kernelinitializer weightinitializer weightinit init initializer",
    "bias_initializer": "biasinit usebias bias",
    "frozen": "trainable requiresgrad",
    "alpha": "rho",
    "base_learning_rate": "baselr",
    "max_learning_rate": "maxlr",
    "min_learning_rate": "minlr",
    "monitor": "metric quantity",
    "units_by_inputs": "pytorch torch outputsbyinputs",
    "inputs_by_units": "keras tensorflow jax flax inputsbyoutputs",
    "float64": "double f64 fp64",
    "float32": "single f32 fp32",
    "validation": "validationdata valdata validationsplit",
    "negative_slope": "alpha slope leak",
}
OTHERS = "msle meansquaredlogarithmicerror posweight hingeembedding tripletmargin ctc lbfgs ftrl noam heaviside glu"
"""What no name of ours means, though some look like it."""
_CALLED: dict[str, list[str]] = {}
for _ours, _others in SYNONYMS.items():
    for _other in _others.split():
        _CALLED.setdefault(_other, []).append(_ours)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """A hint with the known name that means the same as `name`, or else looks most like it, where one does."""
    found = meant(name, names, alike=True)
    return None if found is None else f"Did you mean '{found}'?"


def meant(name: str, names: Iterable[str], alike: bool = False) -> str | None:
    """The known name that means the same as `name`; with `alike`, or else the one that looks most like it."""
    known = {_squeezed(own): own for own in names}
    whole = _squeezed(name[:LONGEST])
    forms = (whole, *(whole.removesuffix(ending) for ending in ENDINGS if whole.endswith(ending)))
    found = [known[form] for form in forms if form in known]
    found += [ours for form in forms for ours in _CALLED.get(form, ()) if ours in known.values()]
    if alike and not any(form in _CALLED or form in OTHERS.split() for form in forms):
        found += [known[match] for match in get_close_matches(forms[-1], known, n=1)]
    return found[0] if found else None


def _squeezed(name: str) -> str:
    """A name as if all libraries wrote it alike."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
