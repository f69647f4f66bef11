"""Pictures for people to look at: enlarged or reduced, with words beneath; needs no torch."""

from softonce.drawing.captions import contact_sheet as contact_sheet
from softonce.drawing.captions import resize_to_show as resize_to_show
from softonce.drawing.captions import with_caption as with_caption
from softonce.drawing.folder import PictureFolder as PictureFolder
