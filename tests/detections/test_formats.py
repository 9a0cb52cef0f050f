from fcoslite.detections.formats import to_results
from tests.labelled_boxes import found, image


def test_results_carry_the_files_category_ids():
    images = [image(7, [[10, 20, 30, 60]], classes=[2])]
    results = to_results(images, [found([[10, 20, 30, 60]], [0.5], classes=[2])], [1, 18])
    assert results == [{"image_id": 7, "category_id": 18, "bbox": [10, 20, 20, 40], "score": 0.5}]
