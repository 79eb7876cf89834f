"""Synthetic speech by espeak-ng: examples and the demo, never training data.

It needs the package espeakng_loader, which brings the library.
"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import tempfile

import espeakng_loader
import numpy as np

# Of a sentence, in this order: pitch and range from 0 to 99, words per minute,
# volume from 0 to 200.
PARAMETERS = ("pitch", "range", "rate", "volume")


class Espeak:
    """The speech synthesiser, as a context manager.

    Arguments
    ---------
    seed : int
        Of the noise in its breath and flutter.
    """

    # Numbers of speak_lib.h.
    _RETURN_SAMPLES = 2
    _RETURN_ERRORS = 0x8000
    _UTF8 = 1
    _PARAMETERS = {"rate": 1, "volume": 2, "pitch": 3, "range": 4}
    _Callback = ctypes.CFUNCTYPE(
        ctypes.c_int,
        ctypes.POINTER(ctypes.c_short),
        ctypes.c_int,
        ctypes.c_void_p,
    )

    def __init__(self, seed=0):
        self.seed = seed
        self._chunks = []
        # Without a reference it would be deleted while the library calls it.
        self._callback = self._Callback(self._collect)

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            folder = pathlib.Path(
                stack.enter_context(tempfile.TemporaryDirectory())
            )
            # Its static variables outlive its termination: only a library that
            # is loaded for the first time gives the same samples again.
            source = espeakng_loader.get_library_path()
            library = shutil.copy(source, folder)
            # It cuts long paths, such as those of virtual environments.
            data = folder / "espeak-ng-data"
            os.symlink(espeakng_loader.get_data_path(), data)
            self._library = ctypes.CDLL(library)
            self.sample_rate = self._library.espeak_Initialize(
                self._RETURN_SAMPLES,
                0,
                os.fsencode(folder),
                self._RETURN_ERRORS,
            )
            if self.sample_rate <= 0:
                raise RuntimeError("espeak-ng cannot read its voice data")
            stack.callback(self._library.espeak_Terminate)
            self._library.espeak_SetSynthCallback(self._callback)
            # Otherwise the time is its seed.
            self._library.espeak_ng_SetRandSeed(ctypes.c_long(self.seed + 1))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        self._stack.close()

    def _collect(self, samples, count, events):
        if samples and count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def speak(self, voice, sentence, values):
        """Speak a sentence.

        Arguments
        ---------
        voice : str
            Language and variant, e.g. "en-us+f2".
        sentence : str
            Its text.
        values : iterable of int
            One for each of `PARAMETERS`.

        Returns
        -------
        samples : numpy.ndarray
            int16, [samples].

        Raises
        ------
        RuntimeError
            If espeak-ng fails.
        """
        self._chunks.clear()
        library = self._library
        failed = library.espeak_SetVoiceByName(voice.encode())
        # After the voice, which sets them too.
        for name, value in zip(PARAMETERS, values):
            number = self._PARAMETERS[name]
            failed |= library.espeak_SetParameter(number, int(value), 0)
        text = sentence.encode() + b"\0"
        failed |= library.espeak_Synth(
            text, ctypes.c_size_t(len(text)), 0, 1, 0, self._UTF8, None, None
        )
        if failed or not self._chunks:
            raise RuntimeError(
                f"espeak-ng cannot speak {sentence!r} as {voice}"
            )
        return np.concatenate(self._chunks)
