// Words for people about the connection and about what it lost. Both pages use them.

/** Keeps `element` (role=status) and the root element's data-connection as `bus` is. */
export function showConnection(bus, element) {
  let was = false; // were we connected before?
  const show = (state, reason) => {
    was ||= state === "open";
    element.dataset.state = state;
    document.documentElement.dataset.connection = state;
    const text = words(state, was, reason);
    // A screen reader says it once, not for each attempt.
    if (element.textContent !== text) element.textContent = text;
  };
  bus.on("state", ({ state, reason }) => show(state, reason));
  show(bus.state);
}

function words(state, was, reason) {
  if (state === "open") return "Connected";
  if (state === "closed") return `Disconnected${reason ? `: ${reason}` : ""}`;
  if (was) return "Connection lost, trying again";
  return state === "connecting" ? "Connecting" : "No connection, trying again";
}

const REASONS = {
  epoch: "the server has begun a new log",
  expired: "the log no longer has it",
  limit: "it is too much to be sent again",
  slow: "this page could not keep up",
  bus: "the bus was away",
  disconnected: "this channel keeps no past",
};

/** Why something is missing. */
export const gapReason = (reason) => REASONS[reason] ?? reason ?? "the server does not say why";
