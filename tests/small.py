"""The demo, so small that it learns nothing: one arm, two phases, two evaluations."""

SMALL = (
    'world={documents=60, languages=["x1"], nli={train=40, dev=8, test=8}, paraphrase={train=4, dev=4, test=4}, '
    "tagging={train=24, dev=8, test=8}, questions={train=4, dev=4, test=4}, choice={train=4, dev=4, test=0}, "
    "retrieval_pairs=8}",
    "tokenizer.vocab_size=120",
    'model={preset="tiny", compute="float32"}',
    'phases=[{name="pretrain", tasks=["mlm"], length=16, batch_size=16, steps=2}, '
    '{name="tagging", parent="pretrain", tasks=["udpos"], length=16, batch_size=16, steps=2}]',
    'evaluations=[{phase="tagging", tasks=["udpos"]}]',
    'arms=[{name="main"}]',
)
