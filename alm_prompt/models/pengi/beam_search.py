"""The beam search of Pengi's official code."""

from __future__ import annotations

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig, GPT2LMHeadModel


def official_beam_search(
    decoder: GPT2LMHeadModel,
    inputs_embeds: torch.Tensor,
    attention_mask: torch.Tensor,
    settings: GenerationConfig,
    temperature: float,
) -> torch.Tensor:
    """Continue prefixes, each by itself, and keep the best text of each; see [`beam_search`].

    Args:
        decoder: the language model.
        inputs_embeds: `[B, P, width]`.
        attention_mask: `[B, P]`, 1 on real positions.
        settings: beams, longest text, and the ids that stop and fill up a text.
        temperature: divides the logits.

    Returns:
        Token ids `[B, L]`.
    """
    texts = []
    for embeds, mask in zip(inputs_embeds, attention_mask.bool(), strict=True):
        found, _ = beam_search(
            decoder,
            embeds[mask].unsqueeze(0),
            settings.num_beams,
            settings.max_new_tokens,
            temperature,
            settings.eos_token_id,
            settings.pad_token_id,
        )
        texts.append(found[0])
    return pad_sequence(texts, batch_first=True, padding_value=settings.pad_token_id)


def beam_search(
    decoder: GPT2LMHeadModel,
    prefix: torch.Tensor,
    num_beams: int,
    max_new_tokens: int,
    temperature: float,
    eos_token_id: int,
    pad_token_id: int,
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Continue one prefix by beam search, ranking at every step by the mean log-probability of a text's tokens.

    `generate` of `transformers` ranks running texts by the sum, and only finished ones by the mean. Here a text that
    has stopped stays among the beams with its mean, and falls out when longer ones have a higher one. Every step
    reads the whole text again, as the official code does.

    Args:
        decoder: the language model.
        prefix: `[1, P, width]` input embeddings.
        num_beams: texts kept at every step.
        max_new_tokens: longest text in tokens.
        temperature: divides the logits.
        eos_token_id: last token of a text, which counts in its mean.
        pad_token_id: any id; it holds the place of texts that stopped before others.

    Returns:
        Token ids of `num_beams` texts, the best first, and the texts' mean log-probabilities `[num_beams]`.
    """
    device, embed = prefix.device, decoder.get_input_embeddings()
    tokens = torch.empty(1, 0, dtype=torch.long, device=device)
    scores = prefix.new_zeros(1)
    lengths = torch.zeros(1, dtype=torch.long, device=device)
    stopped = torch.zeros(1, dtype=torch.bool, device=device)
    for _ in range(max_new_tokens):
        embeds = torch.cat([prefix.expand(len(tokens), -1, -1), embed(tokens)], dim=1)
        logits = decoder(inputs_embeds=embeds, use_cache=False, logits_to_keep=1).logits[:, 0]
        log_probs = (logits / temperature).log_softmax(dim=-1)
        # A stopped text has one continuation, which costs nothing and does not make it longer.
        log_probs[stopped] = -torch.inf
        log_probs[stopped, pad_token_id] = 0.0
        lengths = lengths + ~stopped
        means, best = ((scores[:, None] + log_probs) / lengths[:, None]).flatten().topk(num_beams)
        beams, chosen = best // log_probs.shape[1], best % log_probs.shape[1]
        tokens = torch.cat([tokens[beams], chosen[:, None]], dim=1)
        lengths, stopped = lengths[beams], stopped[beams] | (chosen == eos_token_id)
        scores = means * lengths
        if stopped.all():
            break
    return [text[:length] for text, length in zip(tokens, lengths.tolist(), strict=True)], means
