"""The catalogue entries of the recurrent networks."""

from registry import Entry


def networks() -> list[Entry]:
    """Cores for agents that adapt in a hidden state."""
    return [
        Entry(
            "gru",
            "agents.networks.gru:GRU",
            "Gated recurrent unit.",
            config="agents.networks.gru:GRUConfig",
            citation=(
                "Cho et al. 2014, Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine "
                "Translation, section 2.3"
            ),
            tags=("recurrent",),
        ),
        Entry(
            "lstm",
            "agents.networks.lstm:LSTM",
            "Long short-term memory.",
            config="agents.networks.lstm:LSTMConfig",
            citation="Hochreiter and Schmidhuber 1997, Long Short-Term Memory; Gers et al. 2000, Learning to Forget",
            tags=("recurrent",),
        ),
        Entry(
            "fast-weights",
            "agents.networks.fast_weights:FastWeights",
            "Fast weights: a matrix-valued hidden state that stores key-value pairs by outer products.",
            config="agents.networks.fast_weights:FastWeightsConfig",
            citation=(
                "Katharopoulos et al. 2020, Transformers are RNNs, section 3.3; Schlag et al. 2021, Linear "
                "Transformers Are Secretly Fast Weight Programmers"
            ),
            tags=("recurrent",),
        ),
    ]
