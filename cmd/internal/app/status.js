// Updates the page every 5 seconds and keeps the scroll position. A note at the top says when the page
// is not up to date.
const note = document.querySelector('#note')

async function refresh() {
  if (!getSelection().isCollapsed) {
    note.textContent = 'Updates are paused while text is selected.'
    return
  }
  try {
    const response = await fetch('', {signal: AbortSignal.timeout(4000)})
    if (!response.ok) throw new Error(response.status)
    const update = new DOMParser().parseFromString(await response.text(), 'text/html')
    update.querySelector('details').open = document.querySelector('details').open
    document.querySelector('main').replaceWith(update.querySelector('main'))
    document.title = update.title
    note.textContent = ''
  } catch (error) {
    note.textContent = `No response (${error.message}). This page is not up to date.`
  }
}

setInterval(refresh, 5000)
