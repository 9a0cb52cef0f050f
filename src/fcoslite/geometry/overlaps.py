"""Overlaps of boxes in numpy arrays, by pycocotools."""

import numpy as np


def pairwise_iou(a_xyxy: np.ndarray, b_xyxy: np.ndarray, b_iscrowd: np.ndarray) -> np.ndarray:
    """COCO's IoU [N, M] of boxes [N, 4] and [M, 4]; with a crowd, the share of the first that lies on it."""
    from pycocotools import mask

    if not len(a_xyxy) or not len(b_xyxy):
        return np.zeros((len(a_xyxy), len(b_xyxy)))
    a_xywh, b_xywh = (
        np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(np.float64)
        for boxes in (a_xyxy, b_xyxy)
    )
    overlaps: np.ndarray = mask.iou(a_xywh, b_xywh, b_iscrowd.astype(np.uint8))
    return overlaps


def paired_iou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """IoU of each box with the one at its place, [N] from [N, 4] and [N, 4]; 0 for two without an area."""
    shared = np.clip(np.minimum(a_xyxy, b_xyxy)[:, 2:] - np.maximum(a_xyxy, b_xyxy)[:, :2], 0, None).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a_xyxy, b_xyxy)]
    union = areas[0] + areas[1] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))
