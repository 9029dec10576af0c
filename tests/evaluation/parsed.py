"""A parsed HTML page, for tests of what a report says."""

from html.parser import HTMLParser

VOID = {"meta", "img", "input", "br", "link"}


class Page(HTMLParser):
    """A parsed page: elements in order with their attributes and own text; fails on unbalanced tags."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.path = path
        self.source = path.read_text(encoding="utf-8")
        self.elements, self.open = [], []
        self.feed(self.source)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        in_label = any(parent == "label" for parent, _ in self.open)
        self.elements.append({"tag": tag, "text": "", "in_label": in_label, **dict(attrs)})
        if tag not in VOID:
            self.open.append((tag, self.elements[-1]))

    def handle_startendtag(self, tag, attrs):
        self.elements.append({"tag": tag, "text": "", **dict(attrs)})

    def handle_endtag(self, tag):
        assert self.open and self.open[-1][0] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        for _, element in self.open:
            element["text"] += data

    def find(self, tag, **attributes):
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [
            element
            for element in self.elements
            if element["tag"] == tag
            and all(
                name in element and (value is True or value in (element[name] or "").split())
                for name, value in wanted.items()
            )
        ]

    @property
    def text(self):
        """What a person can read."""
        return words(next(element for element in self.elements if element["tag"] == "body")["text"])

    @property
    def headline(self):
        return words(self.find("p", class_="headline")[0]["text"])


def words(content):
    return " ".join(content.split())
