import pytest
import torch

from livelatent.models.transformer import Attention, Block, Transformer, weights_of

torch.set_num_threads(1)


def tokens(cells=3, n=5, width=8):
    return torch.randn(cells, n, width, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def attention_by_hand(attention, x):
    """Equations 2.18 to 2.22, one cell, head and token at a time."""
    project = attention.project.weight.chunk(3)
    width = project[0].shape[0] // attention.n_heads
    out = torch.zeros_like(x)
    for cell in range(len(x)):
        heads = []
        for head in range(attention.n_heads):
            own = slice(head * width, (head + 1) * width)
            q, k, v = (x[cell] @ weight[own].T for weight in project)
            rows = [
                torch.softmax(torch.stack([q[i] @ k[j] / width**0.5 for j in range(len(k))]), 0) for i in range(len(q))
            ]
            heads.append(torch.stack(rows) @ v)
        out[cell] = torch.cat(heads, 1) @ attention.back.weight.T
    return out


def test_attention_is_that_of_the_equations():
    attention = Attention(8, 6, 2).double()
    x = tokens()
    torch.testing.assert_close(attention(x), attention_by_hand(attention, x))
    q, k, v = attention.heads(x)
    mixed = (weights_of(q, k) @ v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention.back(mixed), attention(x))


@pytest.mark.parametrize("norm", ["pre", "thesis"])
def test_a_block_adds_what_its_form_says(norm):
    block = Block(8, 6, 2, norm, 0.0).double()
    first, second = (layer for layer in block.norms)
    torch.nn.init.normal_(first.weight), torch.nn.init.normal_(second.bias)
    x = tokens()
    if norm == "pre":
        o = x + block.attention(first(x))
        wanted = o + block.mlp(second(o))
    else:
        o = first(block.attention(x) + x)  # 2.23
        wanted = second(block.mlp(o) + x)  # 2.24: X, not O
    torch.testing.assert_close(block(x), wanted)


def test_the_hidden_layer_is_four_times_as_wide():
    block = Block(20, 12, 4, "pre", 0.0)
    assert [layer.out_features for layer in block.mlp if isinstance(layer, torch.nn.Linear)] == [80, 20]


@pytest.mark.parametrize("norm", ["pre", "thesis"])
def test_queries_and_keys_are_those_of_the_forward_pass(norm):
    transformer = Transformer(8, depth=3, attention_width=6, n_heads=2, norm=norm, dropout=0.0).double()
    seen = []
    for block in transformer.blocks:
        block.attention.register_forward_pre_hook(lambda module, given: seen.append(module.heads(given[0])[:2]))
    x = tokens()
    transformer(x)
    got = transformer.queries_and_keys(x)
    assert len(got) == 3
    for wanted, pair in zip(seen[:3], got, strict=True):
        torch.testing.assert_close(pair, wanted)


def test_no_attention_matrix_is_kept_for_the_backward_pass():
    # 4 heads x 600 x 600 would be the largest thing that autograd holds.
    attention = Attention(16, 16, 4)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda t: t):
        attention(torch.randn(1, 600, 16, requires_grad=True))
    assert max(kept) < 600 * 600


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="10 can't be shared among 4"):
        Attention(8, 10, 4)
