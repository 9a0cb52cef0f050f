"use strict";
// What pages have in common. A page defines opened(), hear(message), show(blob) and ended(), has elements `status` and
// `stop`, and calls connect().
const $ = id => document.getElementById(id);
const OPENED_ELSEWHERE = 4001;
let socket, over = "";

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").className = bad ? "bad" : "";
}

function connected() {  // if not, that is told
  return socket.readyState === WebSocket.OPEN;
}

function tell(message) {
  if (connected()) socket.send(JSON.stringify(message));
}

function connect() {
  const address = location.href.replace(/^http/, "ws").replace(/[?#].*$/, "") + "socket";
  socket = new WebSocket(address);
  socket.binaryType = "blob";
  opened();
  socket.onmessage = event => {
    if (typeof event.data !== "string") return show(event.data);
    const message = JSON.parse(event.data);
    if (message.type === "end") return end(over || "It is over. fcoslite has ended.");
    hear(message);
  };
  socket.onclose = event => {
    if (event.code === OPENED_ELSEWHERE) return end("The page was opened in another window, and goes on there.");
    if (over) return end(over);
    say("fcoslite does not answer; trying again. Was it stopped?", true);
    setTimeout(connect, 1500);
  };
}

function reconnect() {  // what is dead is not told so for minutes
  socket.onmessage = socket.onclose = null;
  socket.close();
  connect();
}

function end(text) {
  over = text;
  say(text);
  ended();
  for (const control of document.querySelectorAll("button, input, select")) control.disabled = true;
}

$("stop").onclick = () => {
  if (!connected()) return say("fcoslite does not answer, and cannot be ended from here; trying again.", true);
  over = "Stopped. fcoslite has ended.";
  tell({type: "stop"});
  end(over);
};
