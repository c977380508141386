// The search runs in a worker, which browsers do not start for a page that was opened as a file. There a hidden frame
// takes its place: the same script, the same messages.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      window.searchWorker = this
      this.waiting = []
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.frame.srcdoc =
        "<script>postMessage = data => parent.searchWorker.dispatchEvent(new MessageEvent('message', { data }))</script>" +
        `<script src="${url}"></script>`
      this.frame.onload = () => {
        this.ready = true
        this.waiting.forEach(data => this.postMessage(data))
      }
      document.body.append(this.frame)
    }
    postMessage(data) {
      if (this.ready) this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }))
      else this.waiting.push(data)
    }
    terminate() {
      this.frame.remove()
    }
  }
}
