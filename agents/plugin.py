"""The built-in agent side: agents, reference players, networks and the verbs that train and judge."""

from registry import Entry, hookimpl

_ACTIONS = "discrete-actions|continuous-actions"


@hookimpl
def register_agents() -> list[Entry]:
    """Agents that learn to learn, and players to judge them by."""
    return [
        Entry(
            "rl2",
            "agents.rl2:RL2",
            "RL^2: a recurrent policy trained with PPO over whole trials learns to adapt in its hidden state.",
            config="agents.rl2:RL2Config",
            citation=(
                "Duan et al. 2016, RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning, section 2; "
                "Wang et al. 2016, Learning to reinforcement learn"
            ),
            tags=("recurrent", "on-policy"),
            needs=(_ACTIONS,),
        ),
        Entry(
            "random",
            "agents.random_policy:RandomPolicy",
            "Actions drawn uniformly from the action space.",
            tags=("reference",),
            needs=(_ACTIONS,),
        ),
    ]


@hookimpl
def register_networks() -> list[Entry]:
    """Recurrent networks for agents that adapt in a hidden state."""
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
    ]


@hookimpl
def register_commands() -> list[Entry]:
    """Agent verbs."""
    return [
        Entry("train", "agents.commands:train", "Train an agent as a shipped experiment or a TOML file says."),
        Entry("evaluate", "agents.commands:evaluate", "Evaluate a run on held-out tasks, beside reference players."),
        Entry("report", "agents.commands:report", "Write one self-contained HTML page about one or more runs."),
    ]
