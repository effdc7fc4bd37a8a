import { StrictMode, createElement as h } from "react";
import { createRoot } from "react-dom/client";

import { Wsbus } from "/wsbus.js"; // of the bridge; in a project of your own: from "wsbus"

import { App } from "./App.js";

const bus = new Wsbus("/ws"); // one for the page
createRoot(document.querySelector("#root")).render(h(StrictMode, null, h(App, { bus })));
