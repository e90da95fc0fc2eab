// Files and folders, dropped or chosen, as a list of { file, name }.

import { byId } from "./words.js";

// take(files, others): others counts what a folder held besides recordings.
export function watchIntake(take, suffixes) {
  const place = byId("intake"), files = byId("files"), folder = byId("folder");
  byId("choose-files").addEventListener("click", () => files.click());
  byId("choose-folder").addEventListener("click", () => folder.click());
  files.addEventListener("change", () => {
    take([...files.files].map((file) => ({ file, name: file.name })), 0);
    files.value = "";
  });
  folder.addEventListener("change", () => {
    takeFolder([...folder.files].map((file) => ({ file, name: file.webkitRelativePath || file.name })));
    folder.value = "";
  });

  // Anywhere on the page: a file dropped beside the frame would else replace the page.
  let depth = 0;
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => holdsFiles(event) && place.classList.toggle("over", ++depth > 0));
  addEventListener("dragleave", (event) => holdsFiles(event) && place.classList.toggle("over", --depth > 0));
  addEventListener("dragover", (event) => holdsFiles(event) && event.preventDefault());
  addEventListener("drop", async (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    depth = 0;
    place.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const single = [...event.dataTransfer.files].map((file) => ({ file, name: file.name }));
    if (!entries.some((entry) => entry.isDirectory)) return take(single, 0);
    const found = [];
    for (const entry of entries) await gather(entry, found);
    return takeFolder(found);
  });

  function takeFolder(found) {
    const audio = found.filter(({ name }) => isAudio(name, suffixes()));
    audio.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
    take(audio, found.length - audio.length);
  }
}

// As dfclient searches folders: by the end of the name; macOS's companions are passed over.
function isAudio(name, suffixes) {
  const base = name.slice(name.lastIndexOf("/") + 1), dot = base.lastIndexOf(".");
  return dot > 0 && !base.startsWith("._") && !name.includes("__MACOSX/") && suffixes.includes(base.slice(dot).toLowerCase());
}

async function gather(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve) => entry.file(resolve, () => resolve(null)));
    if (file) found.push({ file, name: entry.fullPath.replace(/^\//, "") });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const part = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!part.length) return;
    for (const child of part) await gather(child, found);
  }
}
