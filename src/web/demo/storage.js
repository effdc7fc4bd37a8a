// What a page remembers. A browser may forbid it; the page then works without.

export function recall(key, otherwise, storage = "localStorage") {
  try {
    return JSON.parse(window[storage].getItem(key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function remember(key, value, storage = "localStorage") {
  try {
    window[storage].setItem(key, JSON.stringify(value));
  } catch {
    // full, or forbidden
  }
}
