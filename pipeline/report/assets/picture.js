/* Pictures of clips: the envelope of the waveform above a log-mel spectrogram. */
"use strict";

(() => {
  const { make } = report;
  const LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"; // 0…63
  const SVG = "http://www.w3.org/2000/svg";

  const drawing = (tag, attributes) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };

  /** The envelope as a shape that is symmetric about its middle; `levels` is one letter per column. */
  function waveform(levels) {
    const heights = [...levels].map((letter) => LEVELS.indexOf(letter) / 63);
    const above = heights.map((height, at) => `${at},${(1 - height).toFixed(3)}`);
    const below = heights.map((height, at) => `${at},${(1 + height).toFixed(3)}`).reverse();
    const svg = drawing("svg", { viewBox: `0 0 ${heights.length - 1} 2`, preserveAspectRatio: "none", class: "waveform" });
    svg.append(drawing("polygon", { points: [...above, ...below].join(" ") }));
    return svg;
  }

  /** The picture of a clip, or null if the page has none. */
  report.picture = (clip) => {
    if (!clip.picture) return null;
    const [levels, spectrogram] = clip.picture;
    const image = make("img", { class: "spectrogram", alt: "", src: `data:image/webp;base64,${spectrogram}` });
    const label = `Waveform and log-mel spectrogram of ${clip.id}`;
    return make("div", { class: "picture", role: "img", "aria-label": label }, waveform(levels), image);
  };
})();
