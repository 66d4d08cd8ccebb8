// Sends dropped and chosen documents one after the other, and shows how far each is. Without it the form sends them.
"use strict";
(() => {
  const form = document.getElementById("upload");
  const input = document.getElementById("files");
  const list = document.getElementById("sending");
  const most = Number(form.dataset.most);
  let last = Promise.resolve();
  let depth = 0; // of the elements below a document that is dragged

  function send(file, row, replace) {
    return new Promise((done) => {
      const request = new XMLHttpRequest();
      const body = new FormData();
      body.append("token", form.elements.token.value);
      body.append("replace", String(replace));
      body.append("file", file);
      request.upload.onprogress = (event) => row.show(event.loaded / event.total);
      request.onload = () => {
        row.end(request, () => queue(file, row, true));
        done();
      };
      request.onerror = () => {
        row.say("The connection was lost. Send it again.", true);
        done();
      };
      request.open("POST", form.action);
      request.setRequestHeader("Accept", "application/json");
      request.send(body);
    });
  }

  function add(name) {
    const item = document.createElement("li");
    const label = document.createElement("span");
    const bar = document.createElement("progress");
    const said = document.createElement("span");
    label.textContent = name;
    label.dir = "auto";
    bar.setAttribute("aria-label", name);
    bar.value = 0;
    said.textContent = "waits";
    item.append(label, bar, said);
    list.append(item);
    return {
      show(share) {
        bar.value = share;
        said.textContent = share < 1 ? `${Math.floor(100 * share)} %` : "is being stored";
      },
      say(text, wrong) {
        bar.hidden = true;
        said.textContent = text;
        item.classList.toggle("wrong", wrong);
      },
      end(request, again) {
        let answer;
        try {
          answer = JSON.parse(request.responseText);
        } catch {
          if (request.responseURL.includes("/login")) return location.reload();
          return this.say(`Refused: ${request.status} ${request.statusText}.`, true);
        }
        if (request.status < 300) return this.say(answer.documents[0].status, false);
        this.say(answer.detail, true);
        if (request.status !== 409) return;
        const button = document.createElement("button");
        button.type = "button";
        button.className = "button";
        button.textContent = "Replace it";
        button.addEventListener("click", () => {
          button.remove();
          bar.hidden = false;
          item.classList.remove("wrong");
          again();
        });
        item.append(button);
      },
    };
  }

  function queue(file, row, replace) {
    last = last.then(() => send(file, row, replace));
  }

  function take(files) {
    for (const file of files) {
      const row = add(file.name);
      if (file.size > most) row.say(`is larger than ${most / 1e6} MB`, true);
      else queue(file, row, false);
    }
  }

  form.classList.add("scripted");
  input.addEventListener("change", () => {
    take([...input.files]);
    input.value = "";
  });
  form.addEventListener("submit", (event) => event.preventDefault());

  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  function mark(change) {
    depth = Math.max(0, depth + change);
    form.classList.toggle("over", depth > 0);
  }
  // The whole page takes them: a browser would open what is dropped beside the form.
  document.addEventListener("dragenter", (event) => carries(event) && mark(1));
  document.addEventListener("dragleave", (event) => carries(event) && mark(-1));
  document.addEventListener("dragover", (event) => carries(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    mark(-depth);
    take([...event.dataTransfer.files]);
  });
})();
