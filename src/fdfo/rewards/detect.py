"""Objects, counts, colours and places that GenEval's prompts ask for, found by a detector of transformers.

Departures from GenEval's evaluation beside those of geneval.py:

1. The detector is a transformers one (RT-DETR v2 by default), not Mask2Former of mmdet: numbers are comparable with
   each other, and not with published ones.
2. It finds boxes and no outlines, so that a colour is named on the whole box, background included.

B images, each with GenEval's metadata of its prompt: `include` and `exclude`, lists of {class, count, color, position}.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import normalize

from fdfo.config.bounds import Images, Share
from fdfo.errors import RewardError
from fdfo.hub import quiet_loading
from fdfo.rewards.contrastive import ContrastiveScore
from fdfo.rewards.geneval import COLORS, Box, Detection, by_class, checks
from fdfo.rewards.pretrained import dtype_problems, explained, network_dtype

_COLOR_TEMPLATES = (
    "a photo of a {color} {object}",
    "a photo of a {color}-colored {object}",
    "a photo of a {color} object",
)
_GENEVAL_NAMES = {
    "mouse": "computer mouse",
    "remote": "tv remote",
    "keyboard": "computer keyboard",
    "aeroplane": "airplane",
    "motorbike": "motorcycle",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
}
"""GenEval's names of classes that COCO, or a detector trained on it, calls something else."""


@dataclass(frozen=True)
class Detector:
    """An object detector of transformers with its own processor."""

    network: Any
    processor: Any

    def __call__(self, images: Tensor) -> list[list[Detection]]:
        """What is found on each of images [B, 3, H, W] in [0, 1]."""
        levels = (images * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        inputs = self.processor(images=list(levels), return_tensors="pt")
        outputs = self.network(**inputs.to(self.network.device, self.network.dtype))
        outputs.logits = outputs.logits.float()
        outputs.pred_boxes = outputs.pred_boxes.float()  # bfloat16 rounds pixels
        sizes = [tuple(images.shape[-2:])] * len(images)
        found = self.processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=sizes)
        return [list(_detections(one, self.network.config.id2label)) for one in found]


class Detect:
    """Share of the checks that an image passes, or whether it passes all; 0 to 1."""

    differentiable = False

    def __init__(
        self,
        *,
        model: str = "PekingU/rtdetr_v2_r50vd",
        revision: str | None = None,
        color_model: str = "openai/clip-vit-large-patch14",
        color_revision: str | None = None,
        threshold: Share = 0.3,
        counting_threshold: Share = 0.9,
        strict: bool = False,
        batch_size: Images = 16,
        dtype: str = "float32",
    ):
        """model is a folder or hub id of a transformers object detector of COCO's classes; color_model a CLIP.
        revision and color_revision pin them, and dtype is that of both.

        Objects count above threshold, those of prompts with tag "counting" above counting_threshold (GenEval's values,
        which fit its own detector). strict gives 1 for a right image and 0 else, as GenEval does.
        Raises RewardError for unusable options.
        """
        problems = [
            f"{key} must be a number from 0 to 1, got {value!r}"
            for key, value in {"threshold": threshold, "counting_threshold": counting_threshold}.items()
            if not isinstance(value, int | float) or not 0 <= value <= 1
        ]
        if not isinstance(batch_size, int) or batch_size < 1:
            problems.append(f"batch_size must be a whole number from 1, got {batch_size!r}")
        problems += dtype_problems(dtype)
        if problems:
            raise RewardError("reward 'detect': " + "; ".join(problems))
        self._model, self._revision, self._batch_size, self._dtype = model, revision, batch_size, dtype
        self._threshold, self._counting_threshold, self._strict = threshold, counting_threshold, strict
        self._clip = ContrastiveScore(
            "detect", model=color_model, revision=color_revision, batch_size=batch_size, dtype=dtype
        )
        self._detector: Detector | None = None
        self._described: dict[str, Tensor] = {}
        """Embeddings of the colours of each object that was asked for."""

    def load(self, device: torch.device | str, dtype: torch.dtype) -> None:
        """Read the detector and the CLIP in `dtype` or that of the options; boxes are placed in float32.

        Raises RewardError when one cannot be used.
        """
        with explained("detect", self._model, self._revision), quiet_loading():
            self._detector = load_detector(self._model, self._revision, device, network_dtype(self._dtype, dtype))
        self._clip.load(device, dtype)

    @property
    def networks(self) -> list[Module]:
        """What `offload` moves."""
        return [self._require_detector().network, *self._clip.networks]

    def __call__(self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> Tensor:
        """Scores [B] float32 on the CPU of images [B, 3, H, W] in [0, 1]; NaN where the metadata ask for nothing.

        Raises RewardError for metadata of another form.
        """
        detector = self._require_detector()
        detections: list[list[Detection]] = []
        for start in range(0, len(images), self._batch_size):
            detections += detector(images[start : start + self._batch_size])
        scores = [self._score(*row) for row in zip(images, detections, prompts, metadata, strict=True)]
        return torch.tensor(scores, dtype=torch.float32)

    def _score(self, image: Tensor, found: Sequence[Detection], prompt: str, metadata: Mapping[str, Any]) -> float:
        is_counting = metadata.get("tag") == "counting"
        boxes = by_class(found, self._counting_threshold if is_counting else self._threshold)
        try:
            passed = checks(boxes, metadata, lambda boxes, name: self._colors(image, boxes, name))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise RewardError(
                f"reward 'detect' on {prompt[:80]!r}: its metadata are not GenEval's "
                f"({type(error).__name__}: {error}); "
                'expected {"tag": ..., "include": [{"class": ..., "count": ...}, ...]}'
            ) from error
        if not passed:
            return float("nan")
        return float(all(passed)) if self._strict else sum(passed) / len(passed)

    def _colors(self, image: Tensor, boxes: Sequence[Box], name: str) -> list[str]:
        """The colour of the object in each box, by the nearest of CLIP's descriptions."""
        if not boxes:
            return []
        crops = torch.cat([self._clip.image_features(_crop(image, box)) for box in boxes])  # each of its own size
        if name not in self._described:
            self._described[name] = self._descriptions(name).cpu()
        similarity = normalize(crops, dim=-1) @ self._described[name].to(crops.device).T
        return [COLORS[i] for i in similarity.argmax(1).tolist()]

    def _descriptions(self, name: str) -> Tensor:
        """Mean embedding of the descriptions of an object in each colour: [colours, D], of length 1."""
        described = [template.format(color=color, object=name) for color in COLORS for template in _COLOR_TEMPLATES]
        texts = normalize(self._clip.text_features(described), dim=-1).unflatten(0, (len(COLORS), -1)).mean(1)
        return normalize(texts, dim=-1)

    def _require_detector(self) -> Detector:
        assert self._detector is not None, "load() comes first"
        return self._detector


def load_detector(model: str, revision: str | None, device: torch.device | str, dtype: torch.dtype) -> Detector:
    """The detector of a folder or hub id. Raises what loading raises."""
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    processor: Any = AutoImageProcessor.from_pretrained(model, revision=revision)
    options: dict[str, Any] = {"revision": revision, "dtype": dtype, "use_safetensors": True}
    network: Any = AutoModelForObjectDetection.from_pretrained(model, **options)
    return Detector(network.requires_grad_(False).eval().to(device), processor)


def _detections(one: Mapping[str, Tensor], labels: Mapping[int, str]) -> list[Detection]:
    rows = zip(one["labels"].tolist(), one["scores"].tolist(), one["boxes"].tolist(), strict=True)
    named = [(labels[label].lower(), score, box) for label, score, box in rows]
    return [Detection(_GENEVAL_NAMES.get(name, name), score, tuple(box)) for name, score, box in named]


def _crop(image: Tensor, box: Box) -> Tensor:
    """The part [1, 3, h, w] of an image [3, H, W] inside a box, at least a pixel."""
    height, width = image.shape[-2:]
    left, top = (min(max(int(value), 0), size - 1) for value, size in zip(box[:2], (width, height), strict=True))
    right, bottom = max(round(box[2]), left + 1), max(round(box[3]), top + 1)
    return image[None, :, top:bottom, left:right]
