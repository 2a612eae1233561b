"""Names that HTML, JavaScript, Jinja2, LaTeX, Markdown or Plotly would interpret if they were not escaped."""

NAMES = (
    "<script>window.hacked = 1</script>",
    '"><img src=x onerror="window.hacked = 2">',
    "</script><script>window.hacked = 3</script>",
    "{{ 7 * 7 }} {% raw %}",
    "back\\slash \\input{x} \\n",
    "it's 100 % & #1 ~ ^ $x_1$ {} [a] *b* `c` |d|",
    "two\nlines\r\tand a tab",
    "\u202eright to left\u200f",
    "<!-- --> <![CDATA[ ]]>",
    "javascript:window.hacked=4",
)
