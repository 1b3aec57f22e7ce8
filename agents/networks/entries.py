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
        Entry(
            "linear-recurrence",
            "agents.networks.linear_recurrence:LinearRecurrence",
            "MinGRU: a gated recurrence linear in its state, computed over whole trials by a parallel scan.",
            config="agents.networks.linear_recurrence:LinearRecurrenceConfig",
            citation="Feng et al. 2024, Were RNNs all we needed?, section 3.1",
            tags=("recurrent",),
        ),
        Entry(
            "transformer",
            "agents.networks.transformer:Transformer",
            "Causal attention over the steps of the trial, with rotary positions and a cache of keys and values.",
            config="agents.networks.transformer:TransformerConfig",
            citation=(
                "Vaswani et al. 2017, Attention is all you need, section 3.2; Parisotto et al. 2020, Stabilizing "
                "Transformers for Reinforcement Learning, section 3"
            ),
            tags=("attention",),
        ),
        Entry(
            "snail",
            "agents.networks.snail:SNAIL",
            "SNAIL: dilated temporal convolutions below causal attention.",
            config="agents.networks.snail:SNAILConfig",
            citation="Mishra et al. 2018, A Simple Neural Attentive Meta-Learner, section 3",
            tags=("attention", "convolution"),
        ),
        Entry(
            "episodic-lstm",
            "agents.networks.episodic_lstm:EpisodicLSTM",
            "LSTM that takes up, by a cue, what it knew when it was last in the same situation.",
            config="agents.networks.episodic_lstm:EpisodicLSTMConfig",
            citation="Ritter et al. 2018, Been there, done that: Meta-learning with episodic recall, section 3",
            tags=("recurrent", "episodic"),
            needs=("cue",),
        ),
        Entry(
            "memoryless",
            "agents.networks.memoryless:Memoryless",
            "A perceptron of the present input alone, to see what memory buys.",
            config="agents.networks.memoryless:MemorylessConfig",
            citation="Rumelhart, Hinton and Williams 1986, Learning representations by back-propagating errors",
            tags=("control",),
        ),
    ]
