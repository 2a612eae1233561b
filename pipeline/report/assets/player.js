/* The player at the bottom of the window. It plays one clip at a time, with its picture and what each model predicted. */
"use strict";

(() => {
  const { make } = report;
  let view = null; // the elements of the player, made when it is first needed
  let playing = null; // {study, indices, at, button}

  /** The segment of the file as [start, end] in seconds, from #t= in the URL. */
  function part(src) {
    const found = /#t=([\d.]+)(?:,([\d.]+))?$/.exec(src);
    return found ? [Number(found[1]), found[2] ? Number(found[2]) : Infinity] : [0, Infinity];
  }

  /** An audio element for a clip, which stays within its segment; `ended` is called at its end. */
  function audioOf(clip, ended) {
    const audio = make("audio", { controls: true, preload: "auto", "aria-label": `Sound of ${clip.id}` });
    const [start, end] = part(clip.src);
    audio.src = clip.src;
    audio.addEventListener("ended", ended);
    audio.addEventListener("play", () => {
      if (audio.currentTime < start - 0.05 || audio.currentTime >= end - 0.05) audio.currentTime = start;
    });
    if (end < Infinity) {
      let timer;
      const stop = () => {
        if (audio.paused || audio.currentTime < end - 0.01) return;
        audio.pause();
        ended();
      };
      audio.addEventListener("timeupdate", () => {
        stop();
        const left = end - audio.currentTime;
        clearTimeout(timer);
        if (left < 0.3) timer = setTimeout(stop, (1000 * left) / audio.playbackRate); // timeupdate events may be 0.25 s apart
      });
      audio.addEventListener("pause", () => clearTimeout(timer));
    }
    return audio;
  }

  /** Move the cursor over the picture while a clip plays, and seek where the picture is clicked. */
  function follow(picture, audio, clip) {
    const [start, end] = part(clip.src);
    const length = () => (end < Infinity ? end : audio.duration || clip.duration || 0) - start;
    const cursor = make("span", { class: "cursor" });
    picture.append(cursor);
    const show = () => {
      if (!picture.isConnected) return;
      const share = length() ? (audio.currentTime - start) / length() : 0;
      cursor.style.left = `${100 * Math.min(1, Math.max(0, share))}%`;
      if (!audio.paused) requestAnimationFrame(show);
    };
    ["play", "seeked", "timeupdate"].forEach((event) => audio.addEventListener(event, show));
    picture.addEventListener("click", (event) => {
      const box = picture.getBoundingClientRect();
      audio.currentTime = start + (length() * (event.clientX - box.left)) / box.width;
    });
  }

  function mark(button, isPlaying) {
    if (!button) return;
    if (isPlaying) button.setAttribute("aria-pressed", "true");
    else button.removeAttribute("aria-pressed");
  }

  function open() {
    const step = (by, text, label) => {
      const button = make("button", { type: "button", "aria-label": label }, text);
      button.addEventListener("click", () => show(playing.at + by));
      return button;
    };
    const close = make("button", { type: "button", "aria-label": "Close the player" }, "✕");
    close.addEventListener("click", stop);
    view = {
      close,
      place: make("p", { class: "quiet", "aria-live": "polite" }),
      before: step(-1, "◀◀", "Previous clip"),
      after: step(1, "▶▶", "Next clip"),
      content: make("div", { class: "player-content" }),
    };
    const bar = make("div", { class: "player-bar" }, view.before, view.after, view.place, close);
    view.element = make("aside", { class: "player", "aria-label": "Player" }, bar, view.content);
    view.element.addEventListener("keydown", (event) => event.key === "Escape" && stop());
    document.body.append(view.element);
    new ResizeObserver(() => leaveRoom(view.element.offsetHeight)).observe(view.element);
  }

  /** Keep the end of the page, and what has the focus, above the player. */
  function leaveRoom(height) {
    document.body.style.paddingBottom = height ? `${height + 16}px` : "";
    document.documentElement.style.scrollPaddingBottom = height ? `${height + 8}px` : "";
  }

  /** Whatever starts to play stops all other sound of the page. */
  document.addEventListener(
    "play",
    (event) => [...document.querySelectorAll("audio")].forEach((other) => other !== event.target && other.pause()),
    true,
  );

  function silence() {
    if (view && view.audio) view.audio.pause();
    if (playing) mark(playing.button, false);
  }

  function stop() {
    const opener = playing && playing.button;
    silence();
    view.element.hidden = true;
    playing = null;
    if (opener && opener.isConnected) opener.focus();
  }

  /** Show and play clip number `at` of the list. */
  function show(at) {
    const { study, indices } = playing;
    const clip = study.clips[indices[at]];
    if (view.audio) view.audio.pause();
    playing.at = at;
    view.before.hidden = view.after.hidden = indices.length < 2;
    view.before.disabled = at === 0;
    view.after.disabled = at === indices.length - 1;
    view.place.replaceChildren(indices.length > 1 ? `${at + 1} of ${indices.length}: ` : "", ...report.clipName(clip));
    const sound = make("div", { class: "player-sound" }, report.truth(study, clip));
    const picture = report.picture(clip);
    if (picture) sound.append(picture);
    view.content.replaceChildren(sound, report.predictions(study, indices[at]));
    view.element.hidden = false;
    const missing = (text) => {
      view.audio = null;
      mark(playing && playing.button, false);
      sound.append(make("p", { class: "note" }, text));
    };
    if (!clip.src) return missing("No audio: the file was missing or unreadable when this page was created.");
    const audio = audioOf(clip, () => (playing && at + 1 < playing.indices.length ? show(at + 1) : mark(playing && playing.button, false)));
    view.audio = audio;
    audio.addEventListener("error", () => {
      if (view.audio !== audio) return;
      const where = clip.src.startsWith("data:") ? "this browser does not play its format" : `no audio at ${clip.src}`;
      audio.remove();
      missing(`This clip cannot be played here: ${where}.`);
    });
    audio.addEventListener("play", () => mark(playing && playing.button, true));
    audio.addEventListener("pause", () => mark(playing && playing.button, false));
    sound.append(audio);
    if (picture) follow(picture, audio, clip);
    audio.play().catch(() => {}); // an error has its own event; a browser may refuse to play without a click
  }

  /** Play clips one after the other; a second press of `button` pauses or continues. Whatever played before stops. */
  report.play = (study, indices, button = null) => {
    if (!view) open();
    if (button && playing && playing.button === button && view.audio && view.audio.isConnected) {
      if (view.audio.paused) view.audio.play().catch(() => {});
      else view.audio.pause();
      return;
    }
    silence();
    playing = { study, indices, button };
    show(0);
    leaveRoom(view.element.offsetHeight);
    if (button) button.scrollIntoView({ block: "nearest" });
  };
})();
