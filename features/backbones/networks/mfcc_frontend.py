"""The numbers that decide the handcrafted features of `mfcc`."""

SAMPLE_RATE = 22_050
N_FFT = 2048
HOP_LENGTH = 512
N_MELS = 128
N_MFCC = 20
N_CONTRAST_BANDS = 6
# MFCC, their deltas; centroid, bandwidth, roll-off, flatness, zero crossings, RMS; contrast
DIM = 2 * N_MFCC + 6 + N_CONTRAST_BANDS + 1
