import torch

from hardpairs.recipes.heads import Heads


def test_heads_over_one_space_start_as_the_model_itself():
    image, text = torch.nn.functional.normalize(torch.randn(2, 5, 8), dim=-1)
    ours = Heads(8, 8, 8)(image, text)
    torch.testing.assert_close(ours[0], image)
    torch.testing.assert_close(ours[1], text)


def test_other_heads_follow_from_their_seed_and_scale_stays_in_bounds():
    first, same, other = Heads(6, 4, 3, seed=1), Heads(6, 4, 3, seed=1), Heads(6, 4, 3, seed=2)
    assert torch.equal(first.image.weight, same.image.weight)
    assert not torch.equal(first.image.weight, other.image.weight)
    with torch.no_grad():
        first.logit_scale.fill_(9)
    first.clamp_scale()
    torch.testing.assert_close(first.logit_scale.exp().item(), 100.0)
