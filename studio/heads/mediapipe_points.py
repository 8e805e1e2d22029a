"""Which of MediaPipe's 478 face-mesh points outline what. "Left" is the subject's left."""

LIPS_OUTER_UPPER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)  # from the right corner to the left
LIPS_OUTER_LOWER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
LIPS_INNER_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LIPS_INNER_LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
LIPS = tuple(dict.fromkeys((*LIPS_OUTER_UPPER, *LIPS_OUTER_LOWER, *LIPS_INNER_UPPER, *LIPS_INNER_LOWER)))
LID_UPPER_RIGHT = (33, 246, 161, 160, 159, 158, 157, 173, 133)  # from the outer corner to the inner
LID_LOWER_RIGHT = (33, 7, 163, 144, 145, 153, 154, 155, 133)
LID_UPPER_LEFT = (263, 466, 388, 387, 386, 385, 384, 398, 362)
LID_LOWER_LEFT = (263, 249, 390, 373, 374, 380, 381, 382, 362)
LIDS_RIGHT = tuple(dict.fromkeys((*LID_UPPER_RIGHT, *LID_LOWER_RIGHT)))
LIDS_LEFT = tuple(dict.fromkeys((*LID_UPPER_LEFT, *LID_LOWER_LEFT)))
BROW_RIGHT = (70, 63, 105, 66, 107, 46, 53, 52, 65, 55)  # upper edge, then lower edge, from the outside inwards
BROW_LEFT = (300, 293, 334, 296, 336, 276, 283, 282, 295, 285)
IRIS_RIGHT, IRIS_LEFT = (468, 469, 470, 471, 472), (473, 474, 475, 476, 477)  # centre first
NOSE = (1, 2, 4, 5, 6, 19, 45, 48, 64, 94, 97, 98, 115, 168, 195, 197, 220, 275, 278, 294, 326, 327, 344, 440)
EYE_CORNERS = (33, 263)  # outer corners, right and left: their distance is the unit of face size
# The outline of the face. MediaPipe puts these points on the silhouette, so they slide over the skin as the head turns:
# give them less weight in anything that needs a fixed place.
CONTOUR = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
GROUPS = {
    "lips": LIPS,
    "lids": (*LIDS_RIGHT, *LIDS_LEFT),
    "brows": (*BROW_RIGHT, *BROW_LEFT),
    "irises": (*IRIS_RIGHT, *IRIS_LEFT),
    "nose": NOSE,
    "contour": CONTOUR,
}
