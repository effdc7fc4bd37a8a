// wsbus in React: two hooks. They need nothing but React (18 or later) and a `Wsbus`, which the
// page makes once, outside of all components:  const bus = new Wsbus("/ws");
import { useCallback, useEffect, useState, useSyncExternalStore } from "react";

/** The connection's state: "connecting", "open", "waiting" or "closed". */
export function useConnection(bus) {
  const listen = useCallback((changed) => bus.on("state", changed), [bus]);
  return useSyncExternalStore(listen, () => bus.state, () => "connecting");
}

const nothing = (channel) => ({ channel, messages: [], ready: false, gaps: [], error: null });

/**
 * The newest messages of a channel, oldest first.
 *
 *   const { messages, ready, gaps, error } = useChannel(bus, "chat.lobby", { from: { last: 20 } });
 *
 * from   as in `bus.subscribe`; default "now"
 * keep   at most so many messages; default 100
 *
 * `ready`: the past that `from` asked for is here. `gaps`: what was lost, as `onGap` tells it.
 * `error`: there is no subscription, or not any more. Several components may show one channel:
 * on the wire it is subscribed once.
 */
export function useChannel(bus, channel, { from = "now", keep = 100 } = {}) {
  const [state, setState] = useState(() => nothing(channel));
  const start = JSON.stringify(from); // the same place, although each rendering makes a new object

  useEffect(() => {
    let over = false;
    const change = (next) => over || setState((old) => ({ ...old, ...next(old) }));
    const onGap = (gap) => change(({ gaps }) => ({ gaps: [...gaps, gap].slice(-keep) }));
    const onError = (error) => change(() => ({ error }));
    const add = (_, message) =>
      change(({ messages }) => ({ messages: [...messages, message].slice(-keep) }));

    setState(nothing(channel)); // another channel, or the effect runs again (StrictMode)
    let subscription;
    try {
      subscription = bus.subscribe(channel, { from: JSON.parse(start), onGap, onError }, add);
      subscription.ready.then(() => change(() => ({ ready: true })), () => {});
    } catch (error) {
      onError(error); // the connection has been closed for good
    }
    return () => {
      over = true;
      subscription?.unsubscribe();
    };
  }, [bus, channel, start, keep]);

  // Until the effect has run for a new channel, nothing of the old one is shown.
  return state.channel === channel ? state : nothing(channel);
}
